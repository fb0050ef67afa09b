"""`lungfield node`: a service that receives radiographs from an archive and sends the results back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lungfield.cli import node_care

if TYPE_CHECKING:
    from lungfield.node.service import Node

app = typer.Typer(
    help="Take radiographs from a PACS, segment them, and send the results back; or look after such a node.",
    invoke_without_command=True,
)
app.command(name="status")(node_care.status)
app.command(name="retry")(node_care.retry)
app.command(name="export-failures")(node_care.export_failures)

_Several = list[str] | None


@app.callback()
def node(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="YAML file with any of these, and more: docs/node.md."
        ),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder of queue, radiographs and results.")
    ] = None,
    ae_title: Annotated[str | None, typer.Option(help="Its own AE title; by default LUNGFIELD.")] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on for DICOM; by default 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on for DICOM; by default 11112.")
    ] = None,
    send_to: Annotated[
        _Several,
        typer.Option(
            help="Where results go: AET@HOST:PORT, the http(s) address of a DICOMweb service, or hl7: or "
            "fhir: and a folder or http(s) address; may be repeated.",
        ),
    ] = None,
    formats: Annotated[str | None, typer.Option(help="What to make; by default seg,sr,sc.")] = None,
    structures: Annotated[
        str | None, typer.Option(help="What DICOM SEG holds: lungs,heart,clavicles; by default the lungs.")
    ] = None,
    bundle: Annotated[
        str | None, typer.Option(help="A shipped bundle's name, or the folder of another that you trust.")
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(help="HOST:PORT of page, health and metrics, by default 127.0.0.1:8080; '' for none."),
    ] = None,
    calling_ae_title: Annotated[
        _Several, typer.Option(help="AE title that may send, by default any; may be repeated.")
    ] = None,
    calling_address: Annotated[
        _Several, typer.Option(help="Address or network that may connect, by default any; may be repeated.")
    ] = None,
    watch: Annotated[
        _Several, typer.Option(help="Folder that is watched for new files; may be repeated.")
    ] = None,
    poll: Annotated[
        _Several,
        typer.Option(help="DICOMweb service that is polled for new radiographs; may be repeated."),
    ] = None,
    every: Annotated[float, typer.Option(min=1, help="Pause between two such queries, in seconds.")] = 30.0,
    tls_certificate: Annotated[
        Path | None, typer.Option(exists=True, help="Encrypt the DICOM port with this certificate (PEM).")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(exists=True, help="The certificate's key (PEM).")] = None,
    tls_ca: Annotated[
        Path | None,
        typer.Option(exists=True, help="Authorities (PEM) that peers' certificates must come from."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = None,
    backend: Annotated[
        str | None, typer.Option(help="torch, openvino or openvino-int8 (on a CPU), or auto.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of worker processes; by default one per core.")
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option(min=1, help="Timeout for each radiograph, in seconds; by default 120.")
    ] = None,
    views: Annotated[
        Literal["frontal", "any"] | None, typer.Option(help="As for `lungfield segment`; by default frontal.")
    ] = None,
    viewer_geometry: Annotated[
        bool, typer.Option("--viewer-geometry", help="As for `lungfield segment`.")
    ] = False,
    skipped_notice: Annotated[
        bool,
        typer.Option(
            "--skipped-notice",
            help="For each skipped image, send a secondary capture with the reason.",
        ),
    ] = False,
    log_file: Annotated[
        Path | None, typer.Option(help="Append the log, as lines of JSON, to this file; by default stderr.")
    ] = None,
) -> None:
    """Run a node until SIGTERM or SIGINT.

    Options of the command line override the settings of --config. Secrets come from the environment only.
    """
    if context.invoked_subcommand is not None:
        return
    from lungfield.node.service import require_packages, run

    require_packages()
    from lungfield.node.configuration import read_settings
    from lungfield.node.log import logging_to

    options: dict[str, Any] = {
        "state": state,
        "ae_title": ae_title,
        "host": host,
        "port": port,
        "send_to": send_to or None,
        "formats": formats,
        "structures": structures,
        "bundle": bundle,
        "http": http,
        "calling_ae_titles": calling_ae_title or None,
        "calling_addresses": calling_address or None,
        "watch": watch or None,
        "poll": _polls(poll or (), every) or None,
        "tls": _tls(tls_certificate, tls_key, tls_ca),
        "device": device,
        "backend": backend,
        "workers": workers,
        "time_limit_s": time_limit,
        "views": views,
        "viewer_geometry": viewer_geometry or None,
        "skipped_notice": skipped_notice or None,
        "log_file": log_file,
    }
    settings = read_settings(config, options)
    with logging_to(settings.log_file):
        run(settings, _tell)


def _polls(urls: list[str] | tuple[()], every_s: float) -> list[dict[str, Any]]:
    names = ("poll", *(f"poll-{number}" for number in range(2, len(urls) + 1)))
    return [{"url": url, "every_s": every_s, "name": name} for url, name in zip(urls, names, strict=False)]


def _tls(certificate: Path | None, key: Path | None, ca: Path | None) -> dict[str, Any] | None:
    if certificate is None:
        if key is not None or ca is not None:
            raise typer.BadParameter("--tls-key and --tls-ca need --tls-certificate.")
        return None
    return {"on": True, "certificate": certificate, "key": key, "ca": ca, "mutual": ca is not None}


def _tell(node: Node) -> None:
    page = f"; page: {node.url}" if node.url else ""
    print(f"lungfield node: listening for DICOM on port {node.port}{page}", flush=True)
