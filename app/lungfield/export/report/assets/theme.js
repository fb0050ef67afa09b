"use strict";

/* The theme is set at once, so that the page does not flash; all else waits for the page. */
const THEME = "lungfield-theme";

function storedTheme() {
  try {
    return localStorage.getItem(THEME);
  } catch {
    return null; // a browser may refuse storage to a file
  }
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem(THEME, theme);
  } catch {
    // then it holds until the page is closed
  }
}

if (storedTheme()) document.documentElement.dataset.theme = storedTheme();
