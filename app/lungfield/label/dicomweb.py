"""A DICOMweb archive as MONAI Label's datastore; masks are stored in it as DICOM SEG."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from dicomweb_client.session_utils import create_session_from_user_pass
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMwebClientX, DICOMWebDatastore
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import DefaultLabelTag
from pydicom import Dataset

import lungfield
from lungfield.dicomweb import Archive, InstanceReference, as_file
from lungfield.errors import DataError, OutputError
from lungfield.export import Algorithm
from lungfield.label.archived_labels import ArchivedLabel, ArchivedLabels
from lungfield.label.folder import names_of
from lungfield.label.masks import read_label
from lungfield.label.segmentations import make_segmentation
from lungfield.labels import LUNG_SIDE_UNKNOWN
from lungfield.mask import split_lungs
from lungfield.radiograph import check_header, read_radiograph

MODALITIES = ("CR", "DX")
"""The modalities of the search if the search filter names none."""

# MONAI Label's default filter, which finds no radiograph; it is treated as no filter.
_STOCK_FILTER = {"Modality": "CT"}
_RETRY_MS = 250
_UID = re.compile(r"[0-9.]{1,64}")
_DICOM = ".dcm"
_SUFFIXES = (_DICOM, ".nii.gz", ".nii", ".nrrd", ".mha", ".png")
_ANNOTATION = Algorithm("MONAI Label with lungfield", lungfield.__version__)


def make_datastore(app: MONAILabelApp, url: str) -> RadiographArchive:
    """The datastore for the root URL of QIDO-RS, WADO-RS and STOW-RS, with MONAI Label's settings.

    These are MONAI_LABEL_DICOMWEB_USERNAME, _PASSWORD, _CACHE_PATH and _SEARCH_FILTER, and
    MONAI_LABEL_QIDO_PREFIX, MONAI_LABEL_WADO_PREFIX and MONAI_LABEL_STOW_PREFIX. The app's `conf` may have
    `viewer_geometry` 'true'; see `make_segmentation`.

    Raises:
        DataError: the URL does not answer as a DICOMweb service.
    """
    # The client logs the identifiers of every study that it queries.
    logging.getLogger("dicomweb_client").setLevel(logging.WARNING)
    user, password = settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD
    client = DICOMwebClientX(
        url=url,
        session=create_session_from_user_pass(user, password) if user and password else None,
        qido_url_prefix=settings.MONAI_LABEL_QIDO_PREFIX,
        wado_url_prefix=settings.MONAI_LABEL_WADO_PREFIX,
        stow_url_prefix=settings.MONAI_LABEL_STOW_PREFIX,
    )
    # By default the client retries for half a minute.
    client.set_http_retry_params(max_attempts=3, wait_exponential_multiplier=_RETRY_MS)
    given = settings.MONAI_LABEL_DICOMWEB_SEARCH_FILTER
    archive = RadiographArchive(
        client,
        {} if given == _STOCK_FILTER else given,
        cache_path=settings.MONAI_LABEL_DICOMWEB_CACHE_PATH.strip() or None,
        viewer_geometry=wants_viewer_geometry(app),
    )
    archive.list_images()  # fail now if the archive does not answer
    return archive


def wants_viewer_geometry(app: MONAILabelApp) -> bool:
    """Whether the app's `conf` has `viewer_geometry` set; see `make_segmentation`."""
    return str(app.conf.get("viewer_geometry", "")).lower() in ("true", "1", "yes")


class RadiographArchive(DICOMWebDatastore):
    """The CR and DX series of a DICOMweb archive.

    It differs from MONAI Label's own datastore, which is made for CT:

    - Images are the original DICOM files, not NIfTI, so that lungfield's reader handles grey values, sides
      and views.
    - An image's id is its SeriesInstanceUID; a StudyInstanceUID is accepted too. Of several images, the first
      one is used whose header does not exclude a frontal chest radiograph.
    - Labels are written with lungfield's writer of DICOM SEG. Only segmentations that an annotator drew or
      corrected are labels, so that masks sent by lungfield are not used for training.
    - Search results are not cached: new objects in the archive are listed at once.
    - PatientID is not stored.

    Images and labels are cached in a folder that only its owner may read. Deleting through MONAI Label clears
    the cache; nothing is deleted in the archive.

    Args:
        client: of the archive.
        search_filter: QIDO-RS keywords and values that images must match; a list of values matches any of
            them. Without a Modality: CR and DX.
        cache_path: folder for the cache; by default MONAI Label's in the home directory.
        viewer_geometry: see `make_segmentation`.
    """

    def __init__(
        self,
        client: DICOMwebClientX,
        search_filter: Mapping[str, Any] | None = None,
        *,
        cache_path: str | None = None,
        viewer_geometry: bool = False,
    ) -> None:
        super().__init__(client, search_filter={}, cache_path=cache_path, convert_to_nifti=False)
        Path(self._datastore_path).chmod(0o700)
        self._archive = Archive(client)
        self._filters = _combinations({"Modality": MODALITIES, **(search_filter or {})})
        self._viewer_geometry = viewer_geometry
        self._archived_labels = ArchivedLabels(self._archive)

    def list_images(self) -> list[str]:
        """The SeriesInstanceUIDs of all matching series, including lateral views and other body parts."""
        return list(self._series())

    def json(self) -> dict[str, Any]:
        """The answer to `GET /datastore/?output=all`: all images, including those that are not cached."""
        listed: dict[str, Any] = super().json()
        objects = listed["objects"]
        for uid, series in self._series().items():
            info = {keyword: str(series.get(keyword, "")) for keyword in ("StudyInstanceUID", "Modality")}
            objects.setdefault(uid, {"image": {"ext": _DICOM, "info": info}, "labels": {}})
        return listed

    def get_image_uri(self, image_id: str) -> str:
        """The file of a radiograph, by SeriesInstanceUID or StudyInstanceUID; fetched if it is not cached.

        Raises:
            DataError: the archive has no such image, or does not answer.
        """
        if path := self._cached(image_id):
            return path
        reference = self._find(image_id)
        if path := self._cached(reference.series):
            return path
        with self._archive.fetched(reference) as file:
            super().add_image(reference.series, str(file), reference.info)
        return self._cached(reference.series)

    def get_labeled_images(
        self,
        label_tag: str | None = None,  # noqa: ARG002
        labels: list[str] | None = None,  # noqa: ARG002
    ) -> list[str]:
        """The images with a label in the archive."""
        return list(self._newest_labels())

    def get_unlabeled_images(
        self,
        label_tag: str | None = None,  # noqa: ARG002
        labels: list[str] | None = None,  # noqa: ARG002
    ) -> list[str]:
        """The images without a label."""
        labelled = self._newest_labels()
        return [image for image in self.list_images() if image not in labelled]

    def get_label_uri(self, label_id: str, label_tag: str, image_id: str = "") -> str:  # noqa: ARG002
        """The file of a label: for 'final' the newest DICOM SEG in the archive, else from the cache."""
        if label_tag == DefaultLabelTag.FINAL and (label := self._newest_labels().get(label_id)):
            self._fetch_label(label)
        return str(LocalDatastore.get_label_uri(self, label_id, label_tag))

    def save_label(
        self,
        image_id: str,
        label_filename: str,
        label_tag: str,
        label_info: dict[str, Any],
        label_id: str = "",  # noqa: ARG002
    ) -> str:
        """Store a mask; with the tag 'final', send it to the archive as a DICOM SEG.

        The mask is a label map on the radiograph's pixels; see `lungfield.label.masks.read_label`. If its
        `label_info` names a model, it is automatic. With another tag than 'final' it stays in the cache.

        Returns:
            The image's SeriesInstanceUID.

        Raises:
            DataError: the mask cannot be read or has another size, or the image does not exist.
            OutputError: no SEG can be made for the radiograph, or the archive did not store it.
        """
        image = Path(self.get_image_uri(image_id))
        series = image.name.removesuffix(_DICOM)
        radiograph = read_radiograph(image, require_frontal=False)
        label_map = read_label(Path(label_filename), radiograph.stored_shape, names=names_of(label_info))
        if label_tag != DefaultLabelTag.FINAL:
            return self._keep(series, Path(label_filename), label_tag, label_info or {})
        if LUNG_SIDE_UNKNOWN in label_map:
            pose = radiograph.pose
            label_map = pose.stored(split_lungs(pose.upright(label_map > 0)))
        by_itself = bool((label_info or {}).get("model"))
        segmentation = make_segmentation(
            radiograph,
            label_map,
            _algorithm(label_info) if by_itself else _ANNOTATION,
            corrected=not by_itself,
            viewer_geometry=self._viewer_geometry,
        )
        self._archive.send(segmentation)
        with as_file(segmentation) as file:
            info = {**(label_info or {}), **InstanceReference.of(segmentation).info}
            return self._keep(series, file, label_tag, info)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:  # noqa: ARG002
        """Raise `OutputError`, as an image in the cache would never be listed."""
        raise OutputError(
            "Send images to the archive itself, with C-STORE or STOW-RS; they are listed at once."
        )

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """The files for training, fetched if they are not cached; with `full_path` False only cached ones.

        Returns:
            `{"image": DICOM file, "label": DICOM SEG file}` for each labelled image.
        """
        pairs = [
            {"image": self.get_image_uri(label.image), "label": self._fetch_label(label)}
            for label in self._newest_labels().values()
        ]
        if full_path:
            return pairs
        cache = Path(self._datastore_path).resolve()
        return [{key: str(Path(path).relative_to(cache)) for key, path in pair.items()} for pair in pairs]

    def _to_id(self, file: str) -> tuple[str, str]:
        """A file's name without its suffix, and the suffix; the last part of a UID is no suffix."""
        suffix = next((one for one in _SUFFIXES if file.endswith(one)), Path(file).suffix)
        return file.removesuffix(suffix), suffix

    def _cached(self, series: str) -> str:
        """The file of an image in the cache, or ''."""
        path = str(LocalDatastore.get_image_uri(self, series))
        return path if path and Path(path).is_file() else ""

    def _series(self, **filters: str) -> dict[str, Dataset]:
        """The archive's attributes of each series of images."""
        return {
            str(series.SeriesInstanceUID): series
            for one in self._filters
            for series in self._archive.series({**one, **filters})
        }

    def _find(self, image_id: str) -> InstanceReference:
        """The reference to the radiograph with an id; `DataError` if there is none."""
        if _UID.fullmatch(image_id):  # otherwise it could be a wildcard of QIDO-RS, or a path
            for keyword in ("SeriesInstanceUID", "StudyInstanceUID"):
                # Not every archive applies every filter.
                series = [
                    one
                    for one in self._series(**{keyword: image_id}).values()
                    if one[keyword].value == image_id
                ]
                if series:
                    return self._first_frontal(series)
        raise DataError(
            f"{self._archive.url}: there is no such image; give the SeriesInstanceUID or StudyInstanceUID of "
            "one that GET /datastore/?output=all lists."
        )

    def _first_frontal(self, series: list[Dataset]) -> InstanceReference:
        """The first image that may be a frontal chest radiograph, or else the first."""
        headers = [
            header
            for one in sorted(series, key=lambda one: int(one.get("SeriesNumber") or 0))
            for header in self._archive.headers(str(one.StudyInstanceUID), str(one.SeriesInstanceUID))
        ]
        if not headers:
            raise DataError(f"{self._archive.url}: the series has no images; is it still being sent?")
        return InstanceReference.of(
            next((one for one in headers if check_header(one).frontal_chest), headers[0])
        )

    def _newest_labels(self) -> dict[str, ArchivedLabel]:
        """The newest label of each labelled image, by the image's SeriesInstanceUID."""
        return self._archived_labels.newest(self._series())

    def _fetch_label(self, label: ArchivedLabel) -> str:
        """The file of a label, fetched if the cache does not have this version."""
        self.get_image_uri(label.image)
        file = str(LocalDatastore.get_label_uri(self, label.image, DefaultLabelTag.FINAL))
        info = self.get_label_info(label.image, DefaultLabelTag.FINAL)
        if info.get("SOPInstanceUID") != label.reference.instance or not Path(file).is_file():
            with self._archive.fetched(label.reference) as fetched:
                self._keep(label.image, fetched, DefaultLabelTag.FINAL, label.reference.info)
        return str(LocalDatastore.get_label_uri(self, label.image, DefaultLabelTag.FINAL))

    def _keep(self, series: str, file: Path, tag: str, info: dict[str, Any]) -> str:
        """Copy a label to the cache."""
        return str(LocalDatastore.save_label(self, series, str(file), tag, dict(info)))


def _algorithm(label_info: Mapping[str, Any]) -> Algorithm:
    """The algorithm of an automatic mask, from the `label_info` of `LungInferTask`."""
    params = label_info.get("params") or {}
    return Algorithm(
        f"lungfield {params.get('bundle') or label_info['model']}",
        str(params.get("version") or lungfield.__version__),
        str(params.get("weights_sha256") or ""),
    )


def _combinations(filters: Mapping[str, Any]) -> list[dict[str, str]]:
    """One search per combination of values, as QIDO-RS takes a single value per keyword."""
    values = [one if isinstance(one, (list, tuple)) else [one] for one in filters.values()]
    return [dict(zip(filters, map(str, chosen), strict=True)) for chosen in product(*values)]
