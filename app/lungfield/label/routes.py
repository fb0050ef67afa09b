"""Routes that replace those of MONAI Label."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qs

import requests
from fastapi import APIRouter, Depends, FastAPI, Form, HTTPException, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.others.generic import name_to_device
from starlette.routing import Match

from lungfield.errors import DataError
from lungfield.export.derived import to_bytes
from lungfield.label.dicomweb import wants_viewer_geometry
from lungfield.label.inference import LungInferTask
from lungfield.label.segmentations import make_segmentation

_AS_USER = [Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))]
_PREFIX = settings.MONAI_LABEL_API_STR
_TIMEOUT_S = 60
_DICOM_SEG = "dicom_seg"
_PROXY = "/proxy/dicom/{path:path}"

_OTHER_METHODS = ("HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

# What DICOMweb has by GET: searches (PS3.18, section 10.6), and studies, series, instances and frames
# with what is derived of them (section 10.4).
_UID = r"(?=[0-9.]{1,64}(?:/|$))[0-9]+(?:\.[0-9]+)*"
_STUDY = f"studies/{_UID}"
_SERIES = f"{_STUDY}/series/{_UID}"
_INSTANCE = f"{_SERIES}/instances/{_UID}"
_RESOURCES = (
    "studies",
    "series",
    "instances",
    f"{_STUDY}/(?:series|instances)",
    f"{_SERIES}/instances",
    f"(?:{_STUDY}|{_SERIES}|{_INSTANCE})(?:/(?:metadata|rendered|thumbnail))?",
    f"{_INSTANCE}/frames/[0-9]+(?:,[0-9]+)*(?:/(?:rendered|thumbnail))?",
)
_QUESTION = re.compile(f"(?:(?P<service>qido|wado)/)?(?P<resource>{'|'.join(_RESOURCES)})")


def add_routes(server: FastAPI) -> None:
    """Put this module's routes before MONAI Label's, as the first matching route answers a request.

    - `POST /infer/{model}?output=dicom_seg`: MONAI Label's route needs a NIfTI file and dcmqi, which does not
      support radiographs, and works with archives only.
    - `GET /proxy/dicom/...`, through which OHIF accesses the archive: MONAI Label's route drops the query
      string. A search for one study then finds all of them, and OHIF shows the name of another patient. It
      also forwards any path, and POST, with the server's password for the archive.
    """
    server.router.routes[:0] = [*_segmentations.routes, *_proxy.routes]


class _ForSegmentations(APIRoute):
    """A route for requests of a DICOM SEG; other requests are left to MONAI Label's route of that path."""

    def matches(self, scope: Any) -> Any:
        """Whether a request is for this route (Starlette's interface)."""
        query = parse_qs(scope.get("query_string", b"").decode())
        return super().matches(scope) if query.get("output") == [_DICOM_SEG] else (Match.NONE, {})


_segmentations = APIRouter(prefix=_PREFIX, route_class=_ForSegmentations, dependencies=_AS_USER)
_proxy = APIRouter(prefix=_PREFIX, dependencies=_AS_USER)


@_segmentations.post("/infer/{model}", include_in_schema=False)
def infer_segmentation(model: str, image: str = "", params: str = Form("{}")) -> Response:
    """Segment a DICOM radiograph with the bundle `model`, and answer with the DICOM SEG.

    `image` is its id in the datastore; `params` is JSON, of which `device` is used.

    Raises:
        LungfieldError: there is no such model or image, it cannot be segmented, or it is not DICOM.
    """
    app = app_instance()
    task = app._infers.get(model)
    if not isinstance(task, LungInferTask):
        raise DataError(f"There is no such model; GET /info/ lists {', '.join(app._infers)}.")
    path = app.datastore().get_image_uri(image) if image else ""
    if not path:
        raise DataError("There is no such image here; GET /datastore/?output=all lists the images.")
    device = json.loads(params or "{}").get("device")
    lungs = task.segment(path, device=name_to_device(device) if device else None)
    segmentation = make_segmentation(
        lungs.radiograph,
        lungs.label_map,
        lungs.algorithm,
        viewer_geometry=wants_viewer_geometry(app),
    )
    return Response(
        to_bytes(segmentation),
        media_type="application/dicom",
        headers={"Content-Disposition": 'attachment; filename="lungs.dcm"'},
    )


@_proxy.get(_PROXY, include_in_schema=False)
def ask_archive(path: str, request: Request) -> Response:
    """Forward a GET request to the archive, with its query and Accept header, and return the answer.

    The server's password may open other routes of the archive, so only DICOMweb resources are forwarded. The
    first part of a path such as 'qido/studies' or 'wado/studies/1.2/metadata' selects MONAI Label's prefix
    for the archive.

    Raises:
        HTTPException: 404 if the path is no DICOMweb resource.
        DataError: the archive does not answer.
    """
    question = _QUESTION.fullmatch(path)
    if question is None:
        raise HTTPException(404, "This path is no DICOMweb resource that is forwarded to the archive.")
    service, resource = question["service"], question["resource"]
    # OHIF requests metadata with the QIDO prefix; they are a resource of WADO-RS.
    if service and resource.endswith("/metadata"):
        service = "wado"
    prefixes = {"qido": settings.MONAI_LABEL_QIDO_PREFIX, "wado": settings.MONAI_LABEL_WADO_PREFIX}
    path = "/".join(filter(None, (prefixes.get(service), resource)))
    user, password = settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD
    try:
        answer = requests.get(
            f"{settings.MONAI_LABEL_STUDIES.rstrip('/')}/{path}",
            params=request.query_params.multi_items(),
            headers={"Accept": request.headers.get("Accept", "*/*")},
            auth=(user, password) if user and password else None,
            timeout=_TIMEOUT_S,
        )
    except requests.RequestException as error:
        raise DataError(
            f"{settings.MONAI_LABEL_STUDIES}: does not answer ({type(error).__name__})."
        ) from error
    return Response(
        answer.content, answer.status_code, headers={"Content-Type": answer.headers.get("Content-Type", "")}
    )


@_proxy.api_route(_PROXY, methods=list(_OTHER_METHODS), include_in_schema=False)
def refuse(path: str) -> None:  # noqa: ARG001
    """Answer other methods with 405, so that MONAI Label's route does not forward them."""
    raise HTTPException(405, "Only GET is forwarded to the archive.", headers={"Allow": "GET"})
