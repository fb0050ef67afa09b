"""The web application that uvicorn runs: MONAI Label's own, with errors as users should meet them.

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
    """What went wrong, in the place where FastAPI's own errors say it."""
    return JSONResponse({"detail": getattr(error, "msg", None) or str(error)}, status_code=BAD_REQUEST)


# MONAI Label lets pages of any site, open in a browser that reaches the server, read what it answers. (With
# its own setting of whom to let, MONAI_LABEL_CORS_ORIGINS, version 0.8.5 does not start.)
app.user_middleware[:] = [one for one in app.user_middleware if one.cls is not CORSMiddleware]

# MONAI Label answers either with 500 and no word.
app.add_exception_handler(LungfieldError, _explain)
app.add_exception_handler(MONAILabelException, _explain)

add_routes(app)

__all__ = ["app"]
