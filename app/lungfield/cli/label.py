"""`lungfield label`: a MONAI Label server with the bundles."""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path
from typing import Annotated

import typer


def label(
    studies: Annotated[
        str | None, typer.Argument(help="Folder of radiographs, or the address of a DICOMweb server.")
    ] = None,
    bundle: Annotated[
        list[str] | None,
        typer.Option(
            "--bundle",
            help="A shipped bundle's name, or the folder of another that you trust; may be repeated. "
            "By default all shipped bundles that have weights.",
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    viewer_geometry: Annotated[
        bool,
        typer.Option(
            "--viewer-geometry",
            help="Place DICOM SEG in an invented plane, which MONAI Label's own OHIF viewer requires.",
        ),
    ] = False,
    home: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for logs and for weights trained by the server."),
    ] = None,
    app_dir: Annotated[
        bool, typer.Option("--app-dir", help="Print the folder of the app for MONAI Label's own command.")
    ] = False,
) -> None:
    """Serve the bundles by MONAI Label: segment, correct in a viewer, train on the corrections."""
    from lungfield.label import server

    server.require_monai_label()
    home = home or server.default_home()
    if app_dir:
        typer.echo(os.fsencode(server.prepare_home(home)))  # for a shell, so exactly
        return
    if studies is None:
        raise typer.BadParameter("Give a folder of radiographs, or the address of a DICOMweb server.")
    if not _is_loopback(host):
        print(
            f"lungfield: listening on {host}: anyone who can reach port {port} can read radiographs, change "
            "labels and train, as the server has no authentication.",
            file=sys.stderr,
        )
    server.start(
        studies,
        home=home,
        bundles=bundle or (),
        device=device,
        conf={"viewer_geometry": str(viewer_geometry).lower()},
        host=host,
        port=port,
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
