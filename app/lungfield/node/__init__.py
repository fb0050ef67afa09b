"""A DICOM node: radiographs arrive, are segmented, and the results go back; nothing is lost."""
