"""A whole node with dcmtk and Orthanc: what was answered with success ends at the archive, once."""

import subprocess
import sys
import time

import pydicom
import pytest
from peers import needs_dcmtk, radiograph, running_node

from orthanc import MISSING, free_port, running_orthanc
from soaking.dcmtk import dcmtk, storescu
from soaking.outcome import check, rows, wait_until_ended
from soaking.sending import Senders

needs_orthanc = pytest.mark.skipif(bool(MISSING), reason=MISSING)
pytestmark = [needs_dcmtk, needs_orthanc, pytest.mark.timeout(280)]

#: Sends all that it stores to the node, its results as well: a loop, if the node let it.
ROUTING = """
function OnStoredInstance(instance, tags, metadata)
  SendToModality(instance, 'node')
end
"""


def answered(*paths):
    return [str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in paths]


def find_series(archive, study):
    """The modalities of a study's series, asked for by C-FIND."""
    keys = ["QueryRetrieveLevel=SERIES", f"StudyInstanceUID={study}", "SeriesInstanceUID", "Modality"]
    found = subprocess.run(
        [dcmtk("findscu"), "-S", "-aet", "LUNGFIELD", "-aec", "ORTHANC", "127.0.0.1", str(archive.dicom_port),
         *(word for key in keys for word in ("-k", key))],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return sorted(
        line.split("[")[1].split("]")[0].strip()
        for line in (found.stdout + found.stderr).splitlines()
        if "(0008,0060)" in line and "[" in line
    )


def test_radiographs_of_storescu_and_of_routing_come_back_as_results_and_no_loop(tmp_path):
    port = free_port()
    script = tmp_path / "route.lua"
    script.write_text(ROUTING)
    modalities = {"node": ["LUNGFIELD", "127.0.0.1", port]}
    with (
        running_orthanc(tmp_path, modalities=modalities, more={"LuaScripts": [str(script)]}) as archive,
        running_node(tmp_path / "node", archive=archive, port=port, skipped_notice=True) as node,
    ):
        direct = radiograph(tmp_path, 1)
        lateral = radiograph(tmp_path, 2, ViewPosition="LL", StudyInstanceUID="1.2.3.4")
        routed = radiograph(tmp_path, 3, sample="01_dx_explicit.dcm")
        assert storescu(port, direct, lateral, options=("-xi",)).returncode == 0
        archive.send([routed])
        _wait_for(lambda: set(answered(direct, lateral, routed)) <= set(rows(node.state)), 60)
        assert wait_until_ended(node.state, 200)
        found = rows(node.state)
        states = [found[uid]["state"] for uid in answered(direct, lateral, routed)]
        assert states == ["delivered", "skipped", "delivered"]
        assert found[answered(lateral)[0]]["reason"]
        for path in (direct, routed):
            study = pydicom.dcmread(path).StudyInstanceUID
            made = ["OT", "SEG", "SR"]
            assert [one for one in find_series(archive, study) if one in made] == made
            series = archive.find("series", StudyInstanceUID=study)
            assert sorted(one.Modality for one in series if one.Modality in made) == made
        (notice,) = archive.find("series", StudyInstanceUID="1.2.3.4")
        assert (notice.Modality, notice.SeriesNumber) == ("OT", 7304)
        time.sleep(3)  # results that Orthanc routes back would be here by now
        assert len(rows(node.state)) == 3
        assert node.end() == 0


@pytest.mark.slow
def test_what_was_answered_survives_kills_of_node_and_archive(tmp_path):
    paths = [radiograph(tmp_path, number, StudyInstanceUID=f"1.2.3.{number + 1}") for number in range(10)]
    with (
        running_orthanc(tmp_path) as archive,
        running_node(tmp_path / "node", archive=archive) as node,
    ):
        senders = Senders(node.port, paths, associations=4, over_s=8)
        senders.start()
        for pause in (1.0, 2.5, 0.2):
            time.sleep(pause)
            node.kill()
            node.start()
        archive.process.kill()
        archive.process.wait()
        assert senders.wait(60)
        ports = (archive.http_port, archive.dicom_port)
        with running_orthanc(tmp_path, ports=ports) as again:
            assert wait_until_ended(node.state, 180)
            outcome = check(node.state, senders.answered, again.url)
        assert outcome.is_good, outcome
        assert (len(senders.answered), outcome.states) == (10, {"delivered": 10})
        assert list((node.state / "incoming" / ".parts").iterdir()) == []


@pytest.mark.slow
def test_sigterm_drains_and_what_was_not_done_is_done_after_the_next_start(tmp_path):
    paths = [radiograph(tmp_path, number) for number in range(6)]
    with running_node(tmp_path / "node") as node:
        assert storescu(node.port, *paths, options=("-xi",)).returncode == 0
        command = [sys.executable, "-m", "lungfield.cli", "node", "--state", node.state, "--http", ""]
        second = subprocess.run([*command, "--port", "0"], capture_output=True, text=True, timeout=90)
        assert second.returncode == 2
        assert "Another node uses" in second.stderr.replace("\n", " ")
        begun = time.monotonic()
        assert node.end(30) == 0
        assert time.monotonic() - begun < 30
        left = {row["state"] for row in rows(node.state).values()}
        assert left <= {"received", "delivered"}
        node.start()
        assert wait_until_ended(node.state, 200)
        assert {row["state"] for row in rows(node.state).values()} == {"delivered"}
        log = (tmp_path / "node" / "node.log").read_text()
        assert answered(*paths)[0] not in log
        assert "Traceback" not in log + node.output.read_text()


@pytest.mark.slow
def test_a_full_disk_refuses_and_loses_nothing(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", small], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    paths = [radiograph(tmp_path, number) for number in range(20)]  # 6 MB
    try:
        with running_node(small, limits={"disk_free_bytes": 0}) as node:
            storescu(node.port, *paths, options=("-xi", "-nh"))
            kept = len(rows(node.state))
            assert 0 < kept < len(paths)
            subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
            assert storescu(node.port, *paths, options=("-xi",)).returncode == 0
            assert wait_until_ended(node.state, 180)
            found = rows(node.state)
            assert {found[uid]["state"] for uid in answered(*paths)} == {"delivered"}
            assert node.end() == 0
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def _wait_for(condition, limit_s):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)
