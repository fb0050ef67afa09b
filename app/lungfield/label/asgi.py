"""The web application for uvicorn: MONAI Label's, with clear error messages.

For `python -m monailabel.main start_server --uvicorn_app lungfield.label.asgi:app ...`.
"""

from __future__ import annotations

from fastapi import Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from monailabel.app import app
from monailabel.interfaces.exception import MONAILabelException

from lungfield.errors import LungfieldError
from lungfield.label.routes import add_routes

BAD_REQUEST = 400


async def _explain(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    """The error message, in the field that FastAPI's own errors use."""
    return JSONResponse({"detail": getattr(error, "msg", None) or str(error)}, status_code=BAD_REQUEST)


# MONAI Label allows cross-origin requests of any site, so remove CORS. (With its setting
# MONAI_LABEL_CORS_ORIGINS, version 0.8.5 does not start.)
app.user_middleware[:] = [one for one in app.user_middleware if one.cls is not CORSMiddleware]

# MONAI Label answers both kinds of errors with 500 and no message.
app.add_exception_handler(LungfieldError, _explain)
app.add_exception_handler(MONAILabelException, _explain)

add_routes(app)

__all__ = ["app"]
