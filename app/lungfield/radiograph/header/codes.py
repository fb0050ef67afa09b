"""The codes of DICOM that say which object, body part or view an image shows.

SNOMED CT (SCT) and the older SRT are both known. A code alone is enough: its meaning is free text.
"""

from __future__ import annotations

from collections.abc import Mapping

SOP_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.1": "Computed Radiography",
    "1.2.840.10008.5.1.4.1.1.1.1": "Digital X-Ray, for presentation",
    "1.2.840.10008.5.1.4.1.1.1.1.1": "Digital X-Ray, for processing",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.2": "Multi-frame Grayscale Byte Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.3": "Multi-frame Grayscale Word Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.4": "Multi-frame True Color Secondary Capture",
}
"""Storage classes that can hold a radiograph (DICOM PS3.4, B.5)."""

MODALITIES = {"CR", "DR", "DX", "RG", "OT", "SC", "PX", "XR"}
"""Modalities of plain radiographs, of scanned film and of captures (DICOM PS3.3, C.7.3.1.1.1).

DR and XR are no defined terms, but what some devices write for DX.
"""

OTHER_MODALITIES = {
    "AU", "BI", "BMD", "CT", "DOC", "ECG", "EPS", "ES", "FID", "GM", "HD", "IO", "IVOCT", "IVUS",
    "KER", "KO", "LEN", "M3D", "MG", "MR", "NM", "OAM", "OP", "OPM", "OPT", "OPV", "PLAN", "PR",
    "PT", "REG", "RF", "RTDOSE", "RTIMAGE", "RTPLAN", "RTRECORD", "RTSTRUCT", "RWV", "SEG", "SM",
    "SMR", "SR", "STAIN", "US", "VA", "XA", "XC",
}  # fmt: skip
"""Other modalities (DICOM PS3.3, C.7.3.1.1.1)."""


def _by_code(table: Mapping[str, str]) -> dict[str, str]:
    return {code: name for name, codes in table.items() for code in codes.split()}


CHEST_CODES = _by_code(
    {
        "CHEST": "816094009 51185008 T-D3000",
        "THORACIC CAVITY": "43799004 T-D3200 72410000 T-D3300",
        "LUNG": "39607008 T-28000 86598002 T-280A0",
        "AIRWAYS": "955009 T-26000 44567001 T-25000",
        "HEART": "80891009 T-32000",
        "RIB": "113197003 T-11300",
        "CHEST AND MORE": (
            "417437006 416152001 416319003 416550000 416775004 R-FAB52 R-FAB53 R-FAB54 R-FAB55 R-FAB56"
        ),
    }
)
"""The chest, what lies in it, and regions that include it (DICOM PS3.16, CID 4031)."""

OTHER_REGIONS = _by_code(
    {
        "ABDOMEN": "113345001 818981001 T-D4000",
        "ABDOMEN AND PELVIS": "818982008",
        "ACROMIOCLAVICULAR JOINT": "85856004 T-15420",
        "ANKLE JOINT": "70258002 T-15750",
        "ANUS": "53505006 T-59900",
        "BILE DUCT": "28273000 T-60610",
        "BILIARY TRACT": "34707002 T-60600",
        "BLADDER": "89837001 T-74000",
        "BONE OF LOWER LIMB": "72001000 T-12700",
        "BONE OF UPPER LIMB": "371195002 T-D0821",
        "BREAST": "76752008 T-04000",
        "CALCANEUS": "80144004 T-12770",
        "CLAVICLE": "51299004 T-12310",
        "COCCYX": "64688005 T-11BF0",
        "COLON": "71854001 T-59300",
        "COMMON BILE DUCT": "79741001 T-64500",
        "DUODENUM": "38848004 T-58200",
        "ELBOW JOINT": "16953009 T-15430",
        "ESOPHAGUS": "32849002 T-56000",
        "ESOPHAGUS STOMACH AND DUODENUM": "110861005 T-DD163",
        "EXTREMITY": "66019005 T-D0300",
        "EYE": "81745001 T-AA000",
        "EYE REGION": "371398005 T-D0801",
        "FACIAL BONES": "91397008 T-11196",
        "FEMUR": "71341001 T-12710",
        "FIBULA": "87342007 T-12750",
        "FINGER": "7569003 T-D8800",
        "FOOT": "56459004 T-D9700",
        "FOREARM": "14975008 T-D8500",
        "GALLBLADDER": "28231008 T-63000",
        "HAND": "85562004 T-D8700",
        "HEAD": "69536005 T-D1100",
        "HEAD AND NECK": "774007 T-D1000",
        "HIP": "29836001 T-D2500",
        "HIP JOINT": "24136001 T-15710",
        "HUMERUS": "85050009 T-12410",
        "ILEUM": "34516001 T-58600",
        "ILIUM": "22356005 T-12340",
        "INTERNAL AUDITORY CANAL": "361078006 T-AB959",
        "JAW REGION": "661005 T-D1213",
        "JEJUNUM": "21306003 T-58400",
        "KNEE": "72696002 T-D9200",
        "LARGE INTESTINE": "14742008 T-59000",
        "LARYNX": "4596009 T-24100",
        "LIVER AND BILIARY STRUCTURE": "303270005 T-50007",
        "LOWER LEG": "30021000 T-D9400",
        "LOWER LIMB": "61685007 T-D9000",
        "MANDIBLE": "91609006 T-11180",
        "MASTOID BONE": "59066005 T-11133",
        "MAXILLA": "70925003 T-11170",
        "MUSCLE OF LOWER LIMB": "102292000 T-14668",
        "MUSCLE OF UPPER LIMB": "30608006 T-13600",
        "NASAL BONE": "74386004 T-11149",
        "NECK": "45048000 T-D1600",
        "OPTIC CANAL": "55024004 T-11102",
        "ORBITAL STRUCTURE": "363654007 T-D14AE",
        "PANCREAS": "15776009 T-65000",
        "PANCREATIC DUCT": "69930009 T-65010",
        "PANCREATIC DUCT AND BILE DUCT SYSTEMS": "110621006 T-65600",
        "PARANASAL SINUS": "2095001 T-22000",
        "PAROTID GLAND": "45289007 T-61100",
        "PATELLA": "64234005 T-12730",
        "PELVIS": "12921003 816092008 T-D6000",
        "PELVIS AND LOWER EXTREMITIES": "1231522001",
        "PHANTOM": "706342009 R-FE0C7",
        "PROSTATE": "41216001 T-92000",
        "RECTUM": "34402009 T-59600",
        "SACROILIAC JOINT": "39723000 T-15680",
        "SACRUM": "54735007 T-11AD0",
        "SCAPULA": "79601000 T-12280",
        "SELLA TURCICA": "42575006 T-D1460",
        "SESAMOID BONES OF FOOT": "58742003 T-12980",
        "SHOULDER": "16982005 T-D2220",
        "SKULL": "89546000 T-11100",
        "SMALL INTESTINE": "30315005 T-58000",
        "SPINE": (
            "110517009 1217253001 1217254007 1217256009 1217257000 122494005 122495006 122496007 "
            "421060004 T-11011 T-11501 T-11502 T-11503 T-D04FF"
        ),
        "STERNOCLAVICULAR JOINT": "7844006 T-15610",
        "STERNUM": "56873002 T-11210",
        "STOMACH": "69695003 T-57000",
        "SUBMANDIBULAR GLAND": "54019009 T-61300",
        "TARSAL JOINT": "27949001 T-15770",
        "TEMPOROMANDIBULAR JOINT": "53620006 T-15290",
        "THIGH": "68367000 T-D9100",
        "THUMB": "76505004 T-D8810",
        "TOE": "29707007 T-D9800",
        "UPPER ARM": "40983000 T-D8200",
        "UPPER LIMB": "53120007 T-D8000",
        "UPPER URINARY TRACT": "431491007 T-7000B",
        "URETER": "87953007 T-73000",
        "URETHRA": "13648007 T-75000",
        "UTERUS AND FALLOPIAN TUBES": "110639002 T-88920",
        "WRIST JOINT": "74670003 T-15460",
        "ZYGOMA": "13881006 T-11166",
    }
)
"""The other regions (DICOM PS3.16, CID 4031, and its former codes of abdomen and pelvis).

The entire body, 38266002, is not among them: a radiograph of a newborn may show all of it.
"""

FRONTAL_VIEWS = _by_code(
    {
        "PA": "272479007 R-10214 R-40888",
        "AP": "399348003 R-10206",
        "frontal": "399033003 R-10202",
    }
)
OTHER_VIEWS = _by_code(
    {
        "acanthioparietal": "399242004 R-102C6",
        "axial": "399061009 R-10241",
        "caudo-cranial": "399196006 R-10244",
        "cranio-caudal": "399162004 R-10242",
        "dorsoplantar": "399335002 R-102C4",
        "lateral": "30730003 399067008 399260004 399352003 G-A145 R-10224 R-10228 R-102CD",
        "left lateral": "399173006 R-10236",
        "left oblique": "399006002 399135007 399184004 R-10212 R-10220 R-10238",
        "oblique": (
            "260426006 260427002 399004004 399059000 399099002 399132005 399160007 399182000 "
            "399225005 399288005 399312000 399325008 399368009 R-10204 R-10208 R-10216 R-10226 "
            "R-10230 R-10246 R-10248 R-10250 R-10252 R-10254 R-102C1 R-40782 R-40783"
        ),
        "occlusal projection": "260499007 R-40810",
        "orbitoparietal": "399351005 R-102C7",
        "parieto-orbital": "399316002 R-102C8",
        "parietoacanthial": "399272005 R-102C5",
        "plantodorsal": "399071006 R-102C3",
        "right lateral": "399198007 R-10232",
        "right oblique": "399038007 399236003 399356000 R-10210 R-10234 R-40985",
        "submentovertical": "399255003 R-10256",
        "tangential": "399110001 R-102C2",
        "tissue specimen": "119376003 G-8300",
        "verticosubmental": "399360002 R-10257",
    }
)
"""Views (DICOM PS3.16, CID 4010)."""
