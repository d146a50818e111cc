"""What the name of an MR scan says: scanners' protocols, data sets' file names, a dozen languages.

Loads without torch and SimpleITK. All words are here; :mod:`.rules` decides with them.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """What a text says.

    Attributes:
        sequence: "t1", "t2", "flair" or "segmentation"; None if it does not say, or says two.
        sure: whether it names the weighting, and not only a technique that mostly has it.
        contrast: whether contrast agent was given; None if it does not say, or says both.
        other: what it is instead, such as "a diffusion scan"; or "".
    """

    sequence: str | None = None
    sure: bool = True
    contrast: bool | None = None
    other: str = ""


def _phrases(text: str) -> str:
    """Pattern of phrases, separated by commas; a * stands for the rest of a word, or its start."""
    text = unicodedata.normalize("NFKD", text)  # as _normalized does
    phrases = (re.escape(phrase.strip()) for phrase in text.split(","))
    return "(?:" + "|".join(phrases).replace(r"\*", r"\S*").replace(r"\ ", " ") + ")"


def _find(pattern: str) -> re.Pattern[str]:
    """Matches whole words of a text of :func:`_normalized`."""
    return re.compile(rf"(?<!\S)(?:{pattern})(?!\S)")


_GLUED = (
    "ax|axi|axial|sag|cor|tra|r|cax|csag|ccor|[es]|[vs]?3d|2d|brain|inplane|ir|gd|ce|ss|op|hr|post|"
    "pre|wip|uni"
)
# Capital letters show where a word ends: annaT1, p07t1ce, T1ceAnna. Not "patient1", and after a "c"
# neither: cT1 is a T1 with contrast, c1T1 the gray matter in one.
_JOINED = (
    (re.compile(r"(?<=[^\W\d_][abd-z])(?=T[12](?!\d))|(?<=\d\d)(?=[Tt][12](?!\d))"), " "),
    (re.compile(r"(?<![^\W\d_])([Tt]1(?:[Cc]e|[Gg]d|[cnw]))(?=[A-Z][a-z])"), r"\1 "),
)
# How a text is spelled out, in this order.
_SPELLINGS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        ("\N{LATIN SMALL LETTER DOTLESS I}", "i"),
        ("\N{CYRILLIC SMALL LETTER TE}(?=[12])", "t"),
        (r"\+ ?/ ?-|±|\bw ?(?:/|&|and)? ?w ?/? ?o\b", " wwo "),  # with and without
        (r"\bw ?/ ?o\b|\b[su]/(?=\S)|\bs/ ", " without "),
        (r"\b[cwm]/", " with "),
        (r"\b(?:c|gd|km|ks|iv)-(?![a-z0-9])", " without contrast "),
        (r"t2w? ?\*", "t2 star"),
        (r"\b\d+(?:[.,]\d+)? ?[cm]m\b", " "),  # cm is also an agent
        # Chinese, Japanese and Korean stand beside letters without a space.
        ("([\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff]+)", r" \1 "),
        (r"[^\w+]|_", " "),
        (r"\+", " + "),
        (r"\bsub (?=\d)", "subject "),
        (r"\bt ([12])\b", r"t\1"),
        (r"\bct1", "t1 c"),
        # AXT1, sT1W, T1gd, T2FSE
        (rf"\b({_GLUED})?(t[12](?!\d))(w(?=[a-z]))?", r"\1 \2 \3 "),
    )
)

# Contrast agent, and what stands before it.
_AGENT = _phrases(
    "gd, gad, gado*, km, mdc, ks, kl, ce, civ, ivkm, wca, cm, contrast*, kontr*, contr, enh*, "
    "inj*, agent*, dotarem, clariscan, magnevist, multihance, omniscan, prohance, vueway, "
    "elucirem, контраст*, гадолин*, ку, кв, к \N{CYRILLIC SMALL LETTER U}"
)
_WITH = _phrases("with, w, mit, con, avec, com, met, med")
_WITHOUT = _phrases(
    "without, wo, no, non, not, ohne, vor, sans, avant, sin, senza, prima, sem, zonder, voor, bez, "
    "przed, pred, prije, uden, uten, utan, fore, before, antes, без, до"
)
_AND = _phrases("and, und, y, e, et, en, og")
_OF = _phrases("de, del, della, di, d, le, la, l, il, the, of, der, dem, von, van, any")
_GIVING = _phrases(
    "i v, iv, e v, ev, medio, gabe, administ*, somminist*, podani*, toedien*, введени*"
)
_LINK = rf"(?: (?:{_OF}|{_GIVING}))*"
_LETTER = _phrases("c, k, g, gd, gad*, km, ks, iv, ev, ce, contrast*")
# "preop" and "post surgery" are no contrast.
_TREATMENT = "(?:op|surg|rt|rad|treat|tx|ther|bio|chemo|resec|ict|mort|fossa|scan)"

_BOTH = _find(
    rf"(?:wwo|{_WITH}(?: {_AND})? {_WITHOUT}|{_WITHOUT} {_AND} {_WITH}){_LINK}(?: {_AGENT})?"
)
_NATIVE = tuple(
    map(
        _find,
        (
            rf"{_WITHOUT}{_LINK} (?:{_AGENT}|c)",
            r"(?:without|wo|ohne|sans|sin|senza|zonder)$",
            rf"(?:pre|prae|pra)(?! {_TREATMENT})(?:{_LINK} {_AGENT})?",
            rf"{_AGENT} (?:oncesi|yok)",
            rf"native?(?! space)|t1 n(?! {_AGENT})",
            _phrases(
                "nativ, nativo, nativa, nat, plain, simple, vierge, basal*, precon*, pregad*, "
                "pregd, prekm, noncon*, nonenh*, unenh*, ss inj*, ss gado*, kontrastsiz*, "
                "*平扫*, *平掃*, *単純*, *非造影*, *造影前*, *造影なし*, *未增强*, *增强前*, "
                "*增強前*, *조영전*, 조영 전"
            ),
        ),
    )
)
_ENHANCED = tuple(
    map(
        _find,
        (
            _AGENT,
            rf"post(?! {_TREATMENT})",
            rf"(?:\+|{_WITH}) {_LETTER}|{_LETTER} \+",
            "(?:with|mit|avec|con)$",
            r"t1(?: w| wi)? (?:c|ca|\+)",
            r"(?:se|tse|fse|spgr|fspgr|bravo|mprage|mpr|vibe|cube|space) (?:c|\+)",
            _phrases(
                "pos, apos, postcon*, postkon*, postgad*, postgd, postkm, postiv, postinj*, postc, "
                "kontrastli*, cax, csag, ccor, spgrc, delayed, tardif*, *增强*, *增強*, "
                "*造影*, *조영*"
            ),
        ),
    )
)

_T1_TECHNIQUE = _find(
    _phrases(
        "*mprage*, mp rage, mp2rage*, *fspgr*, fsgpr, spgr*, bravo*, vibe*, mdeft, "
        "3d tfe, geir, tfl, thrive"
    )
)
_T2_TECHNIQUE = _find(_phrases("frfse, fr fse, haste, ssfse, ssh tse, *t2filter"))
_FLAIR = _find(_phrases("*flair*, flar, fliar, dark fl*, darkfl*, da fl, dafl, fla, t2 f, spcir"))
_FLAIR_TECHNIQUE = _find(_phrases("*tirm*"))
_SEGMENTATION = _find(
    _phrases(
        "seg, gt, dseg, segm, *segmentation*, label, labels, labelmap*, truth, *annotation*, gtv"
    )
)

# Images that are none of the four sequences, with the words that identify them; the first match is
# reported.
_OTHERS = {
    what: _find(_phrases(words))
    for what, words in {
        "a localizer": (
            "loc, locs, local, posdisp, *locali*, lokali*, *scout*, survey*, 3 pl*, 3pl*, "
            "tri plan*, smartbrain, reperage, cal, asset cal*, *calib*, ref scan, coil*, b0rf*, "
            "b1rf*, *field map*, fieldmap*, shim*, *定位*"
        ),
        "a subtraction": "sub, subs, *subtr*, substr*, soustr*, sottr*, sustr*, delta t1",
        "a diffusion scan": (
            "adc*, *adc, dwi*, *dwi, diff*, dti*, *dti, dki, ivim, trace*, b 1000*, b1000*, "
            "b500*, b800*, b2000*, ep2d diff, resolve*, *colfa, tensor, hardi, apparent, difu*, "
            "dyfu*, диффуз*, *弥散*, *扩散*, *拡散*"
        ),
        "a perfusion scan": (
            "perf*, pwi, dsc, dce, *cbv, *cbf, mtt, ttp, tmax, *asl, ktrans, bolus, dyna*, dyn, "
            "twist*, grasp, tricks, 4d, 4d*, spwi, *灌注*, *灌流*"
        ),
        "a susceptibility scan": (
            "t2 star*, t2 s, t2 etoile, *swi, swip, swan*, ven bold*, venobold*, hemo, haemo, "
            "mpgr, merge, medic, minip, mnip, pha, phase, pha images, mag images, qsm, *mgre*"
        ),
        "an angiogram": (
            "tof*, *tof, *mra, *mrv, *angio*, venogr*, pca, *inhance*, *carot*, mip, mips, 3dpc, "
            "phlebo*, flebo*, *血管*"
        ),
        "a functional scan": "bold*, *bold, *fmri*, resting*, rs mri, moco*, ep2d*, epi",
        "a spectroscopy": "*spectr*, mrs, mrsi, csi, svs, spektr*",
        "a proton-density scan": (
            "pd, pdw*, pdt2*, dp, dual*, double echo, proton*, densid*, mese, t2 de"
        ),
        "a STIR or another inversion recovery": "stir, *stir, dir, 3ddir, psir, fgatir",
        "a steady-state scan": "ciss*, ci3d*, *fiesta*, b ffe, btfe, bffe, tru*fi*, hyce, *ssfp*",
        "a map": (
            "*map, *maps, *mapping, t1 images, t2 images, fa, *prob*, pve, inv1, inv2, inv 1, "
            "inv 2, uncertainty, t1 rho, jacobian*, warp, dose"
        ),
        "a mask": "*mask*, roi, rois, contour*, *lesion*",
        "a picture": (
            "*fused, fusion, overlay, screen*, report, key image*, vrt, phoenix*, summary"
        ),
        "not of the whole brain": (
            "*spine*, lumb*, cervical*, thora*, *wirbel*, hws, bws, lws, columna*, colonna, "
            "rachis, orbit*, iac, cai, sella*, hypoph*, ipofisi, hipof*, pituit*, pit, neck, "
            "knee, breast, prostat*, liver, abdomen, pelvis, tmj, phantom, *hippo*"
        ),
        "not an MR scan": "ct, cta, pet, spect, fdg, fet, suv",
    }.items()
}
# T2 by gradient echo is T2*, wherever the two words stand.
_GRADIENT_ECHO = _find(
    _phrases("ffe, fe, gre, *gre, gr, fl2d*, fl3d*, flash, gradient*, grad, eg, hemo")
)
_VERTEBRAE = re.compile(r"(?<!\S)[ctl]\d+ [ctls]\d+(?!\S)")


def words_of(text: str) -> Words:
    """What a series description, a protocol name or a file name without its ending says."""
    text = _normalized(text)
    contrast = _contrast(text)
    t1, t2 = (word in text.split() for word in ("t1", "t2"))
    other = next((what for what, words in _OTHERS.items() if words.search(text)), "")
    if other in ("", "a mask", "a map") and _SEGMENTATION.search(text):
        return Words("segmentation")
    if not other and _VERTEBRAE.search(text):
        other = "not of the whole brain"
    if other:
        return Words(other=other)
    if t2 and _GRADIENT_ECHO.search(text):
        return Words(other="a susceptibility scan")
    if t1 and t2:
        return Words()
    if t1:  # also a T1 FLAIR
        return Words("t1", True, contrast)
    if _FLAIR.search(text):
        return Words("flair", True, contrast)
    if t2:
        dark = _FLAIR_TECHNIQUE.search(text)
        return Words("flair" if dark else "t2", not dark, contrast)
    for sequence, technique in (
        ("t1", _T1_TECHNIQUE),
        ("flair", _FLAIR_TECHNIQUE),
        ("t2", _T2_TECHNIQUE),
    ):
        if technique.search(text):
            return Words(sequence, False, contrast)
    return Words(contrast=contrast)


def _contrast(text: str) -> bool | None:
    text, both = _BOTH.subn(" ", text)
    native = any(words.search(text) for words in _NATIVE)
    for words in _NATIVE:
        text = words.sub(" ", text)  # "without contrast" names the agent too
    enhanced = any(words.search(text) for words in _ENHANCED)
    if both or native == enhanced:
        return None
    return enhanced


def separated(text: str) -> str:
    """The text with a space between a name and the sequence, where both are joined."""
    for pattern, replacement in _JOINED:
        text = pattern.sub(replacement, text)
    return text


def _normalized(text: str) -> str:
    """Words in small letters without accents, one space between; signs of contrast as words."""
    text = unicodedata.normalize("NFKD", text)
    text = "".join(sign for sign in text if not unicodedata.combining(sign))
    text = separated(text).lower()
    for pattern, replacement in _SPELLINGS:
        text = pattern.sub(replacement, text)
    return " ".join(text.split())
