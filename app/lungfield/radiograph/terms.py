"""Words for views and body parts as they stand in headers, in the languages of the devices' users.

All are in capitals without accents, as `normalised` makes them. Latin, Cyrillic and Greek terms are whole
words, those of body parts with five letters and more also starts of words; terms in scripts without spaces
are found anywhere. Sources: DICOM PS3.16, annex L (body parts) and CID 4010 (views), and the usual names of
examinations in radiology departments.
"""

from __future__ import annotations

import re
import unicodedata

FRONTAL_WORDS = {
    **dict.fromkeys(("PA", "POSTEROANTERIOR", "后前位", "後前"), "PA"),
    **dict.fromkeys(("AP", "ANTEROPOSTERIOR", "前后位", "前後"), "AP"),
    **dict.fromkeys(
        (
            "FRONTAL",
            "FRONTALE",
            "RLD",
            "LLD",
            "DECUBITUS",
            "DECUB",
            "FACE",
            "正面",
            "정면",
            "側臥",
            "侧卧",
            "측와",
        ),
        "frontal",
    ),
}
"""Words for frontal views. A decubitus view is frontal, though 'lateral' often stands beside it."""

LATERAL_WORDS = (
    "LATERAL", "LAT", "LATERALE", "LATERALES", "LL", "RL", "LLAT", "RLAT", "LATERO", "LATEROLATERAL",
    "LATEROLATERALE", "SEITLICH", "SEITLICHE", "SEITENAUFNAHME", "PROFIL", "PERFIL", "LATERAAL", "ZIJDELINGS",
    "ZIJOPNAME", "BOCZNE", "BOCZNA", "BOCZNY", "BOCNI", "BOCNY", "BOCNA", "SIDOBILD", "SIDEBILDE", "YANDAN",
    "БОКОВАЯ", "БОКОВОЙ", "БОКОВОЕ", "БОКОВОМ", "БІЧНА", "ΠΛΑΓΙΑ",
    "側面", "侧面", "側位", "侧位", "측면", "جانبي",
)  # fmt: skip
OBLIQUE_WORDS = (
    "OBLIQUE", "OBL", "OBLIQ", "OBLICUA", "OBLICUO", "OBLIQUA", "OBLIQUO", "SCHRAG", "SKOSNE", "SKOSNA",
    "LAO", "RAO", "LPO", "RPO", "LLO", "RLO", "КОСАЯ", "КОСОЙ", "斜位",
)  # fmt: skip

SPINE_WORDS = (
    "SPINE", "CSPINE", "TSPINE", "LSPINE", "HWS", "BWS", "LWS", "WIRBELSAULE", "COLUMNA", "RACHIS", "COLONNA",
    "COLUNA", "WERVELKOLOM", "KREGOSLUP", "ПОЗВОНОЧНИК",
    "脊椎", "脊柱", "腰椎", "頸椎", "颈椎", "胸椎", "척추", "요추", "경추", "흉추",
)  # fmt: skip
"""The spine comes before the chest, since 'thoracic spine' names both."""

CHEST_TERMS = (
    "CHEST", "THORA", "TORAX", "TORAC", "THX", "LUNG", "PULMO", "PNEUMO", "RIB", "CXR", "POUMON", "PECHO",
    "BRUST", "LONGEN", "KLATKA PIERSIOWA", "KLP", "PLUCA", "HRUDNIK", "GOGUS", "AKCIGER", "KEUHKO", "MELLKAS",
    "ГРУДН", "ЛЕГК", "ОГК", "ΘΩΡΑΚ", "胸", "肺", "흉부", "폐", "صدر",
)  # fmt: skip
"""Parts of names of the chest, found anywhere in a text."""

OTHER_PARTS = {
    "ABDOMEN": "BAUCH VENTRE ADDOME BUIK BUIKOVERZICHT BRZUCH JAMA~BRZUSZNA BRISNI ЖИВОТ БРЮШН 腹部 복부 بطن",
    "ANKLE": "SPRUNGGELENK TOBILLO CHEVILLE CAVIGLIA TORNOZELO ENKEL ГОЛЕНОСТОП 足関節 踝 발목",
    "ARM": "OBERARM UNTERARM BRAZO AVAMBRACCIO",
    "BREAST": "MAMMA MAMA MAMMOGRAPHIE MAMOGRAFIA МОЛОЧН 乳房 유방",
    "CALCANEUS": "FERSE CALCANEO TALON",
    "CLAVICLE": "CLAVICULA SCHLUSSELBEIN CLAVICULE CLAVICOLA КЛЮЧИЦ 鎖骨 锁骨 쇄골",
    "COCCYX": "COCCIX STEISSBEIN",
    "ELBOW": "ELLENBOGEN CODO COUDE GOMITO COTOVELO ELLEBOOG LOKIEC ЛОКТ 肘 팔꿈치",
    "EXTREMITY": "EXTREMITAT EXTREMIDAD КОНЕЧНОСТ",
    "FEMUR": "FEMORE OBERSCHENKEL БЕДР 大腿 대퇴",
    "FIBULA": "PERONE",
    "FINGER": "DEDO DOIGT VINGER PALEC ПАЛЕЦ 手指 손가락",
    "FOOT": "FUSS PIED PIEDE VOET STOPA СТОПА 足部 발",
    "FOREARM": "ANTEBRAZO AVANTBRAS PRZEDRAMIE ПРЕДПЛЕЧ 前腕 前臂",
    "HAND": "MANO MAO DLON КИСТЬ КИСТИ 手部 手正 손",
    "HEAD": "KOPF CABEZA TETE TESTA HOOFD GLOWA ГОЛОВ 頭部 头部 머리",
    "HEEL": "HAK",
    "HIP": "HUFTE CADERA HANCHE ANCA HEUP BIODRO ТАЗОБЕДР 股関節 髋 고관절",
    "HUMERUS": "HUMERO OMERO UMERO 上腕骨 肱骨",
    "JAW": "KIEFER MANDIBULA MASCELLA",
    "KNEE": "KNIE RODILLA GENOU GINOCCHIO JOELHO KOLANO KOLENO КОЛЕН 膝 무릎",
    "KUB": "",
    "LEG": "BEIN PIERNA JAMBE GAMBA PERNA UNTERSCHENKEL ГОЛЕН 下腿 小腿",
    "MANDIBLE": "UNTERKIEFER 下顎 下颌",
    "NECK": "HALS CUELLO COLLO SZYJA ШЕЯ 頸部 颈部",
    "ORBIT": "ORBITA",
    "PATELLA": "ROTULE KNIESCHEIBE 膝蓋骨",
    "PELVIS": "BECKEN BASSIN BACINO BACIA BEKKEN MIEDNICA PANEV ТАЗ ТАЗА 骨盤 骨盆 골반 حوض",
    "RADIUS": "",
    "SACRUM": "SACRO KREUZBEIN",
    "SCAPULA": "SCHULTERBLATT OMOPLATO 肩甲骨 肩胛",
    "SHOULDER": "SCHULTER HOMBRO EPAULE SPALLA OMBRO SCHOUDER BARKU ПЛЕЧ 肩 어깨",
    "SINUS": "NASENNEBENHOHLEN SENOS~PARANASALES NNH ПАЗУХ 副鼻腔 鼻窦",
    "SKULL": "SCHADEL CRANE CRANEO CRANIO SCHEDEL CZASZKA ЧЕРЕП 頭蓋 头颅 두개골",
    "STERNUM": "BRUSTBEIN ESTERNON",
    "TEETH": "ZAHN DENTAL",
    "THIGH": "MUSLO CUISSE COSCIA COXA",
    "THUMB": "DAUMEN PULGAR POUCE POLLICE",
    "TIBIA": "SCHIENBEIN",
    "TOE": "ZEHE ORTEIL 足趾",
    "TOOTH": "",
    "ULNA": "CUBITO",
    "WRIST": "HANDGELENK MUNECA POIGNET POLSO PUNHO NADGARSTEK ЗАПЯСТ 手関節 腕关节 손목",
    "ZYGOMA": "",
}
"""Other parts of the body: the name that DICOM has, and those in other languages; `~` stands for a blank."""

OUT_OF_CONTEXT = re.compile(
    r"\b(?:"
    r"(?:HEAD|FOOT|LEG)(?: END)? OF (?:THE )?(?:BED|TABLE)"  # where a portable machine stands
    r"|(?:HEAD|FOOT|LEG) END"
    r"|HEAD (?:UP|DOWN|ELEVATED|RAISED|OF)"  # how the patient lies
    r"|(?:HEAD|FEET|FOOT) FIRST"  # PatientPosition in words (PS3.3, C.7.3.1.1.2)
    r"|(?:ARMS?|HANDS?) (?:UP|DOWN|RAISED|ABOVE|OVER|BEHIND|AT|BY|ON)"
    r"|HAND ?(?:HELD|SWITCH|OVER|BULB)"
    r"|(?:LEGS?|KNEES?) (?:UP|DOWN|BENT|RAISED|FLEXED)"
    r"|NECK (?:COLLAR|BRACE|LINE)"
    r"|BEINE? (?:HOCH|TIEF)|ARME? (?:HOCH|OBEN)|KOPF (?:HOCH|TIEF|ENDE)"
    r")\b"
)
"""Phrases that name a part of the body, yet not what is examined."""


def normalised(text: str) -> str:
    """A text in capitals, without accents, wide letters and punctuation, words parted by single blanks."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).replace("ß", "ss"))
    joined = unicodedata.normalize("NFC", "".join(one for one in plain if unicodedata.category(one) != "Mn"))
    capitals = re.sub(r"\b([A-Z])\.(?=[A-Z]\b)", r"\1", joined.upper())  # 'A.P.' is one word
    return " ".join(re.sub(r"[\W_]+", " ", capitals).split())


def find(terms: tuple[str, ...], text: str) -> str:
    """The first of some terms that stands in a normalised text as a whole word, or ''."""
    words = set(re.findall(r"[^\W\d_]+", text))
    return next((term for term in terms if (term in words if _has_case(term) else term in text)), "")


def other_part(text: str) -> str:
    """The other part of the body that a normalised text names, or '' where it names none or the chest too."""
    said = OUT_OF_CONTEXT.sub(" ", text)
    if find(SPINE_WORDS, said) or "SPINE" in said.replace(" ", ""):
        return "SPINE"
    if has_chest(said):
        return ""
    found = _CASED_PARTS.search(said)
    if found:
        return _PART_OF[found[1] or found[2]]
    return next((_PART_OF[term] for term in _OTHER_TERMS if term in said), "")


def has_chest(text: str) -> bool:
    """Whether a normalised text names the chest."""
    return any(term in text for term in CHEST_TERMS)


def _has_case(term: str) -> bool:
    """Whether a term is in a script that has capitals, and so blanks between words."""
    return term.lower() != term


_LETTER = r"[^\W\d_]"
_PART_OF = {
    term.replace("~", " "): part for part, others in OTHER_PARTS.items() for term in (part, *others.split())
}
_OTHER_TERMS = tuple(term for term in _PART_OF if not _has_case(term))


def _any_of(terms: list[str]) -> str:
    return "|".join(map(re.escape, sorted(terms, key=len, reverse=True)))


# Short names, such as ARM or LEG, also begin other words.
_CASED_PARTS = re.compile(
    rf"(?<!{_LETTER})(?:({_any_of([one for one in _PART_OF if _has_case(one) and len(one) >= 5])})"
    rf"|({_any_of([one for one in _PART_OF if _has_case(one) and len(one) < 5])})S?(?!{_LETTER}))"
)
