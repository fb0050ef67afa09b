"""A DICOM node: it receives radiographs, segments them, and sends the results, from a durable queue."""
