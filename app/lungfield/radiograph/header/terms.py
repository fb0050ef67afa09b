"""The terms for body parts and views in headers, in languages that were found or are likely.

A term is a word or a phrase in the form of `texts.normalised`: lower case, no accents, no punctuation. A
trailing `*` also matches longer words, for inflected endings and for German compounds. Chinese, Japanese,
Korean and Thai do not separate words: their terms are regular expressions that are searched anywhere, with
guards against other words with the same characters.

Sources: the English terms are those of DICOM PS3.16, annex L (BodyPartExamined), PS3.3, C.8.1.1 and C.8.11.5
(ViewPosition), with abbreviations of radiographers. Terms of other languages are the common nouns and
adjectives of radiography requests; no standard lists them. A word with another meaning in another language
(French 'bas', Dutch 'enkel', Swedish 'sida', Hungarian 'lab') is left out.
"""

from __future__ import annotations

CHEST = "CHEST"
SPINE = "SPINE"

CHEST_STEMS = ("chest", "thora", "torax", "torac", "toraks", "thx", "pulmo", "cxr", "poumon", "polmon")
"""These match anywhere in a text, as in the joined names HEMITHORAX and PORTCHEST."""

CHEST_TERMS = (
    "rib, ribs, ribcage, lung, lungs, heart, mediastin*, "
    "lunge, lungen*, rippe, rippen*, brustkorb, herz, "  # German
    "cotes, gril costal, coeur, parrilla costal, costillas, pleura*, "  # French, Spanish
    "coste, costato, cuore, costelas, "  # Italian, Portuguese
    "borstkas, longen, longfoto, hart, brystkasse, lungor, lunger, hjarta, keuhko*, rintakeha, "  # Northern
    "klatka piersiowa, klatki piersiowej, klp, pluca, pluc, zebra, zeber, "  # Polish
    "hrudnik*, hrudni kos, plice, plic, prsni kos, grudni kos, grudnog kosa, "  # Czech, Croatian
    "mellkas*, tudo, mellkasi, cord pulmon, "  # Hungarian, Romanian
    "gogus, akciger*, kaburga, paac, "  # Turkish
    "грудн*, груди, легк*, легень, легені, ребр*, огк, "  # Russian, Ukrainian, Bulgarian
    "θωρακ*, πνευμον*, صدر, الصدر, رئة, חזה, ריאות, قفسه سینه, "  # Greek, Arabic, Hebrew, Persian
    "nguc, phoi, paru, dada"  # Vietnamese, Indonesian
)
CHEST_CJK = "胸(?![骨椎])|肺|肋|흉부|가슴|폐|늑골|ทรวงอก|ปอด"

SPINE_TERMS = (
    "spine, wirbelsaule, wirbelsaeule, brustwirbel*, halswirbel*, lendenwirbel*, bws, hws, lws, columna, "
    "coluna, "
    "colonna, rachis, wervelkolom, kregoslup*, patere, gerinc*, omurga, ryggrad, selkaranka, σπονδυλ*, "
    "позвоноч*, хребет, хребта, гръбнак, عمود فقري, עמוד שדרה"
)
SPINE_CJK = "椎|脊柱|척추|흉추|요추|경추|กระดูกสันหลัง"
"""The spine takes precedence over the chest: 'thoracic spine', 'columna toracica' and 胸椎 contain both."""

OTHER_PARTS: dict[str, str] = {
    "ABDOMEN": (
        "abdomen*, abdomin*, abd, kub, bauch*, vientre, ventre, pancia, addom*, brzuch*, jama brzuszna, "
        "bricho, bricha, buik, buikoverzicht*, batin, vatsa, bung, κοιλια*, живот*, брюшн*, черевн*, بطن, בטן"
    ),
    "PELVIS": (
        "pelvis, pelvic, pelvi, becken*, bassin, bacino, bacia, bekken*, miednic*, panev, panve, medence, "
        "lantio*, legen kemigi, таз, таза, λεκανη*, حوض, אגן"
    ),
    "HIP": (
        "hip, hips, hufte, huften, huefte, huft*, hanche*, cadera*, anca, quadril, heup, heupen, hofte, "
        "hoft, "
        "lonkka*, biodro, biodra, biodrowy, kycel*, csipo*, kalca, ισχιο*, тазобедр*, кульшов*"
    ),
    "KNEE": (
        "knee, knees, knie, kniegelenk*, knieaufnahme*, rodilla*, genou, genoux, joelho*, ginocchi*, kolano, "
        "kolana, kolan, kolanow*, koleno, kolena, kolenni, koljeno, terd, diz, polvi*, kna, kne, knae, "
        "γονατ*, "
        "колен*, колін*, коляно, ركبة, ברך"
    ),
    "PATELLA": "patell*, kniescheibe*, rotula*, rzepka, надколен*",
    "LEG": (
        "leg, legs, lower leg, lower limb, lower extremity, unterschenkel*, jambe*, pierna*, gamba, perna, "
        "onderbeen, podudzi*, berec, голен*, гомілк*"
    ),
    "TIBIA": "tibia*, schienbein*",
    "FIBULA": "fibula*, wadenbein*, perone",
    "FEMUR": "femur*, femure, бедрен*, stehenni",
    "THIGH": "thigh*, oberschenkel*, cuisse*, muslo*, coscia, coxa, bovenbeen, бедро, бедра, стегно",
    "ANKLE": (
        "ankle*, sprunggelenk*, knochel, knoechel, cheville*, tobillo*, caviglia, caviglie, tornozelo*, "
        "enkelgewricht, kostka, kostki, kotnik*, boka, bokaizulet, ayak bilegi, nilkka, голеност*, αστραγαλ*"
    ),
    "FOOT": (
        "foot, feet, fuss, fusse, vorfuss*, ruckfuss, fussaufnahme*, pied, pieds, pie derecho, "
        "pie izquierdo, "
        "pie der, pie izq, pies, piede, piedi, pe direito, pe esquerdo, voet, voeten, stopa, stopy, "
        "ayak, fod, labfej, jalkatera, стопа, стопы, ποδι, قدم, כף רגל"
    ),
    "HEEL": "heel, heels, ferse, fersenbein, calcaneus, calcaneo, calcaneum, kalkaneus, talon, пяточн*",
    "TOE": "toe, toes, zehe, zehen, grosszehe, orteil*, hallux, alluce, palce u nogi, пальцев стопы",
    "HAND": (
        "hand, hands, hande, handaufnahme*, mano, manos, mains, main gauche, main droite, "
        "main g, main d, main face, main de face, main profil, mao, maos, dlon, dloni, reka, ruka, "
        "kez, "
        "kasi, χερι, χειρ*, кисть, кисти, кистей, يد, اليد, כף יד"
    ),
    "WRIST": (
        "wrist*, handgelenk*, handwurzel*, poignet*, muneca*, carpo, carpus, polso, punho*, pols, nadgarst*, "
        "zapesti, csuklo*, el bilegi, ranne, καρπ*, запяст*, лучезапяст*"
    ),
    "FINGER": (
        "finger, fingers, dedo*, doigt*, dito, dita, vinger*, palec, palca, parmak, sormi, prst, prsty, ujj, "
        "палец, пальца, пальцев"
    ),
    "THUMB": "thumb, thumbs, daumen*, pouce*, pulgar*, pollice, polegar*, duim, kciuk*",
    "FOREARM": (
        "forearm*, unterarm*, avant bras, avantbras, antebrazo*, antebraco*, avambraccio, onderarm*, "
        "przedrami*, предплеч*, передпліч*"
    ),
    "ELBOW": (
        "elbow*, ellbogen*, ellenbogen*, coude*, codo, codos, gomito, cotovelo*, elleboog, lokiec, lokcia, "
        "loket, konyok*, dirsek, albue, kyynarpaa, локт*, локоть, лікт*, αγκων*, مرفق, מרפק"
    ),
    "ARM": (
        "arm, arms, upper arm, upper limb, upper extremity, oberarm*, brazo*, braccio, braco*, bovenarm*, "
        "ramie"
    ),
    "HUMERUS": "humerus, humeri, humero, omero, плечев*",
    "SHOULDER": (
        "shoulder*, schulter*, epaule*, hombro*, ombro*, spalla, spalle, schouder*, bark, barku, barkowy, "
        "rameno, ramena, omuz, skulder*, olkapaa, vall, ωμος, плечо, плеча, كتف, כתף"
    ),
    "SCAPULA": "scapula*, skapula, schulterblatt*, omoplat*, escapula*, scapola, lopatk*, лопатк*",
    "CLAVICLE": (
        "clavic*, klavikul*, schlusselbein*, schluesselbein*, obojczyk*, sleutelbeen, koprucuk, ключиц*"
    ),
    "STERNUM": "sternum, brustbein*, esternon, esterno, mostek, mostka, грудин*",
    "EXTREMITY": "extremit*, extremid*, gliedmass*, ekstremit*, конечност*",
    "SKULL": (
        "skull*, schadel*, schaedel*, crane, craneo, cranio, cranium, czaszk*, lebka, lebky, koponya, "
        "kafatasi, "
        "kranium, schedel*, череп*, κρανι*, جمجمة, גולגולת"
    ),
    "HEAD": "head, heads, kopf, tete, cabeza, testa, cabeca, hoofd, glowa, glowy, hlava, голова, головы",
    "JAW": (
        "jaw, jaws, mandib*, maxilla*, kiefer*, unterkiefer*, oberkiefer*, machoire*, mascella, zuchw*, "
        "челюст*"
    ),
    "TEETH": (
        "teeth, tooth, dental, opg, orthopantomo*, ortopantomo*, zahn, zahne, zahnstatus, dientes, "
        "dentes, denti, "
        "зуб, зубы, зубов"
    ),
    "ORBIT": "orbit, orbits, orbita*",
    "SINUS": (
        "sinus, sinuses, waters, nasennebenhohle*, nasennebenhoehle*, nnh, senos paranasales, "
        "seni paranasali, "
        "zatoki, vedlejsi dutiny, пазух*"
    ),
    "NECK": ("neck, hals, halsweichteile, cou, cuello, collo, pescoco, szyja, szyi, nyak, boyun, шея, шеи"),
    "NASAL BONE": "nasal bone*, nasenbein*, huesos propios, os propres, ossa nasali, кости носа",
    "FACIAL BONES": "facial bones, gesichtsschadel, zygoma*, jochbein*, massif facial, macizo facial",
    "BREAST": "breast, breasts, mamma, mammae, mammo*, mamograf*, молочн*",
    "SACRUM": "sacrum, sacro, sacral, sacroil*, kreuzbein*, iliosakral*, isg, крестц*",
    "COCCYX": "coccyx, steissbein*, coxis, копчик*",
    "RADIUS": "radius, speiche",
    "ULNA": "ulna",
    SPINE: (
        "lumbar, lumbal*, lombaire*, lombar, lombare, lumbosacr*, dorsolumb*, cervical*, lomber, "
        "vertebr*, поясничн*, шейн*, ledzwiow*, szyjn*, bederni, krcni"
    ),
}
"""Terms of other body parts, by the name in messages."""

OTHER_PARTS_CJK: dict[str, str] = {
    "ABDOMEN": "腹部(?!臥)|복부|ช่องท้อง",
    "PELVIS": "骨盤|骨盆|골반|เชิงกราน",
    "HIP": "股関節|股关节|髋|髖|고관절",
    "KNEE": "膝(?!立て)|무릎|슬관절|เข่า",
    "ANKLE": "足関節|足首|踝|발목|족관절",
    "HEEL": "踵|跟骨|종골",
    "TOE": "足趾|足指|발가락",
    "FOOT": "(?<![不満满補补])足(?![り関首指趾元側侧够夠])|족부",
    "LEG": "下腿|小腿|하퇴|下肢|하지골",
    "THIGH": "大腿|股骨|대퇴",
    "WRIST": "手関節|手首|腕关节|腕關節|손목",
    "FINGER": "手指|拇指|母指|손가락",
    "HAND": "手(?![術术動动技順顺関首指持背元掌段法前後后])|手掌|손(?![상목가])|มือ",
    "ELBOW": "肘|팔꿈치|주관절|ข้อศอก",
    "FOREARM": "前腕|前臂|전완",
    "HUMERUS": "上腕|肱骨|상완",
    "SCAPULA": "肩甲|肩胛|견갑",
    "SHOULDER": "肩(?![甲胛])|어깨|견관절|ไหล่",
    "CLAVICLE": "鎖骨|锁骨|쇄골",
    "STERNUM": "胸骨|흉골",
    "SKULL": "頭蓋|头颅|頭顱|두개|กะโหลก",
    "HEAD": "頭部(?![高挙抬側])|头部(?![高抬侧])",
    "JAW": "下顎|下颌|下頜|顎骨|颌骨|하악",
    "TEETH": "歯|牙齿|牙齒|치아",
    "SINUS": "副鼻腔|鼻窦|鼻竇|부비동",
    "NECK": "頸部|颈部|경부",
    "BREAST": "乳腺|乳房|유방",
    "SACRUM": "仙骨|骶",
}
"""The same in Chinese, Japanese, Korean and Thai."""

ONLY_AS_BODY_PART: dict[str, str] = {
    "ARM": "bras",
    "HAND": "main",
    "FOOT": "pie, pe",
    "FACE": "face, visage, gesicht, viso",
    "EYE": "eye, eyes",
    "EAR": "ear, ears",
    "NOSE": "nose",
    "COLON": "colon",
    "STOMACH": "stomach",
    "BLADDER": "bladder",
    "KIDNEY": "kidney, kidneys",
    "UTERUS": "uterus",
    "ESOPHAGUS": "esophagus, oesophagus",
}
"""Names that are used only in BodyPartExamined and in a code's meaning, as they are ambiguous in other texts:
'PE' is also a pulmonary embolism, 'PIE' an interstitial emphysema, and French 'face' the frontal view."""

FRONTAL_TERMS: dict[str, str] = {
    "PA": (
        "pa, p a, posteroanterior*, postero anterior*, posterior anterior, posterio anterior, dorsoventral*, "
        "dorso ventral*, tylno przednia, tylnoprzednia, zadopredni, задне передн*, заднепередн*"
    ),
    "AP": (
        "ap, a p, anteroposterior*, antero posterior*, anterior posterior, ventrodorsal*, ventro dorsal*, "
        "przednio tylna, predozadni, передне задн*, переднезадн*"
    ),
    "frontal": (
        "frontal*, front, de face, face, frente, frontaal, framifran, прямая, прямой, прямо, анфас, "
        "προσθιοπισθια, thang, rld, lld, decub*, seitenlage*, zijligging, na boku, латеропозици*, "
        "2 views, 2 view, two views, 2 ebenen, 2 richtungen, zwei ebenen, dos proyecciones, 2 proyecciones, "
        "deux incidences, 2 proiezioni, due proiezioni, 2 projekcje, двух проекциях, 2 х проекциях"
    ),
}
"""Terms of frontal views, a decubitus, or several views at once."""
FRONTAL_CJK = {
    "PA": "後前|后前|背腹|후전",
    "AP": "前後方向|前后位|前後位|腹背|전후",
    "frontal": "正面|正位|正[侧側]|정면|側臥|侧卧|側卧|측와|ด้านหน้า",
}

OTHER_VIEW_TERMS: dict[str, str] = {
    "lateral": (
        "lateral, laterals, lat, latl, llat, rlat, ll, rl, latero*, profile view, "
        # Italian, French, Romanian, Spanish, Portuguese
        "laterale, laterali, profil, profils, perfil, perfiles, "
        "seitlich*, seitl, seitaufnahme, seitbild, lateraal, zijdelings*, zijopname, "  # German, Dutch
        "lateralt, sidobild*, sidoprojektion*, sidebilled*, sidebilde, sideoptagelse, sivukuva*, "  # Northern
        # Polish, Czech, Croatian, Hungarian
        "boczn*, bocni, bocna, bocne, bocny, profiln*, oldaliran*, oldalfelv*, "
        "yan, lateralna, sonine, "  # Turkish, Lithuanian
        "боков*, бічн*, профил*, странична, πλαγια, πλαγιο, προφιλ, "  # Cyrillic, Greek
        "جانبي, جانبية, الجانبية, نیمرخ, צידי, לטרלי, nghieng"  # Arabic, Persian, Hebrew, Vietnamese
    ),
    "oblique": (
        "obl, obliq, lao, rao, lpo, rpo, llo, rlo, oblicu*, obliqu*, "
        "schrag*, schraeg*, schuin, schuine, skosn*, sikma, sikme, oblik, ferde, skra, косая, косые, "
        "косой, скосн*"
    ),
}
OTHER_VIEW_CJK = {
    "lateral": "[侧側]位(?!置)|[侧側]面|측면|측위|ด้านข้าง",
    "oblique": "斜位|斜方|사위",
}
"""Views that are not frontal."""

PART_OUT_OF_CONTEXT = (
    # Ends of a bed or a table.
    r"(foot|head|leg|feet) of( the)? (bed|table|stretcher|trolley|cot)|(foot|head|leg) (end|board)|head side",
    r"(bed|table|stretcher) (foot|head|leg)( end)?",
    r"(tete|pieds?) d[ue] lit|(pies?|pie) de (la )?cama|(testa|capo|piedi) d[ei]l? letto",
    r"(kopf|fuss) ?(ende|teil)|(hoofd|voeten) ?einde?",
    # Postures of a patient.
    r"head (up|down|first|high|low|raised|elevated|turned|tilted|straight|neutral)( \d+)?",
    r"(feet|foot|legs?) (first|up|down|raised|elevated|together|apart|crossed)",
    r"(arms?|hands?) (up|down|raised|elevated|lifted|lowered|above|over|by|at|behind|beside|forward|crossed|"
    r"abducted|on)( (the )?(head|hips?|sides?|waist|rails?|chest))?",
    r"shoulders? (rolled|forward|down|depressed)( forward)?",
    r"de pie|em pe|in piedi|a pie",  # standing, in Spanish, Portuguese, Italian
    r"bras (leves|baisses|le long)|(brazo|braco)s? (arriba|abajo|levantados?|elevados?)",
    r"manos? (en|sobre) (la |las )?(caderas?|cintura|cabeza)|mains? sur les hanches|hande in (die )?hufte",
    r"(arme?|kopf|beine|hande) (hoch|oben|unten|angehoben|erhoben|tief)|(armen|hoofd) (omhoog|omlaag)",
    # Devices, and supports and protection of the patient.
    r"(hand|arm|leg|knee) (held|carried|portable|switch|crank|grid|rest|support|holder|strap|bag|bagging)",
    r"(held )?by hand|hand over|second hand|segunda mano|a mano|a mao|(left|right) hand (side|corner)",
    r"(c|u) arm|arm (board|band|sling|line|port|iv|picc)",
    r"picc( line)?( in| from| via| placed)?( the)?( (left|right|lt|rt|l|r|upper))* (arm|extremity)",
    r"head (rest|support|holder|box|phones?)|foot (switch|pedal|rest|stool)|heel effect",
    r"(neck|cervical|hard) (collar|brace|lines?)|spine board",
    r"(gonad\w*|pelvi\w*|abdom\w*|breast|thyroid) (shield\w*|apron|protect\w*|cover\w*)",
    # Clinics and operations.
    r"(head|neck|hand|foot|hip|knee|spine|breast|shoulder)( and \w+)? "
    r"(clinic|ward|unit|surgery|surgeon|dept|department|center|centre)",
    # The recess between ribs and diaphragm.
    r"sinus (costo|phren|kosto|frei|libre)\w*|(costo|phreni|kosto)\w* sinus",
)
"""Regular expressions of phrases in which the name of a body part does not refer to the picture."""

VIEW_OUT_OF_CONTEXT = (
    r"(no|not|without|w o|minus|excluding|except|unable|ohne|sans|sin|senza|sem|zonder|bez|без)( the| a)?"
    r" (lateral|laterals|lat|profil|perfil|laterale|laterali|seitlich\w*|lateraal|boczn\w*|боков\w*)",
    r"(lateral|laterals|lat) (not|to follow|omitted|refused|impossible|pending|wall|aspect|border|margin|"
    r"chest wall|marker|decub\w*|recumbent)",
)
"""The same for views: views that were not taken, and sides of the body."""
