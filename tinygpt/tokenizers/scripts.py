"""Where a text changes from one script to another, as the pre_tokenizer UnicodeScripts cuts it.

Hiragana and Katakana count as Han, since Japanese mixes them; a space belongs to whatever is beside it.

Prerequisites: `unicode_classes.py`. Next: `pre_tokenizers.py`.
Source: github.com/huggingface/tokenizers, src/pre_tokenizers/unicode_scripts.
"""

from __future__ import annotations

from functools import cache

import regex

from .unicode_classes import without_newer

__all__ = ["script_starts"]

_NAMES = """
    Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali Bhaiksuki Bopomofo
    Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian Chakma Cham Cherokee Common Coptic
    Cuneiform Cypriot Cyrillic Deseret Devanagari Duployan Egyptian_Hieroglyphs Elbasan Ethiopic Georgian Glagolitic
    Gothic Grantha Greek Gujarati Gurmukhi Han Hangul Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic Inherited
    Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi Kannada Katakana Kayah_Li Kharoshthi Khmer Khojki
    Khudawadi Lao Latin Lepcha Limbu Linear_A Linear_B Lisu Lycian Lydian Mahajani Malayalam Mandaic Manichaean Marchen
    Meetei_Mayek Mende_Kikakui Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi Mongolian Mro Multani Myanmar Nabataean
    New_Tai_Lue Newa Nko Ogham Ol_Chiki Old_Hungarian Old_Italic Old_North_Arabian Old_Permic Old_Persian
    Old_South_Arabian Old_Turkic Oriya Osage Osmanya Pahawh_Hmong Palmyrene Pau_Cin_Hau Phags_Pa Phoenician
    Psalter_Pahlavi Rejang Runic Samaritan Saurashtra Sharada Shavian Siddham SignWriting Sinhala Sora_Sompeng Sundanese
    Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangut Telugu Thaana Thai Tibetan Tifinagh
    Tirhuta Ugaritic Vai Warang_Citi Yi
""".split()
_AS_HAN = {"Hiragana", "Katakana"}


@cache
def _runs() -> regex.Pattern:
    return regex.compile("|".join(f"(?P<{name}>\\p{{Script={name}}}+)" for name in _NAMES))


def script_starts(text: str) -> list[int]:
    """The places at which another script begins than the one before; what precedes the first is in none.

    >>> script_starts(" abc где 日本の")
    [1, 5, 9]
    """
    places: list[int] = []
    before = None
    text = without_newer(text)
    for part in regex.finditer("\u30fc| |[^\u30fc ]+", text):
        if part[0] == " ":
            continue
        for match in _runs().finditer(text, part.start(), part.end()):
            name = "Han" if match.lastgroup in _AS_HAN or match[0] == "\u30fc" else match.lastgroup
            if name != before:
                places.append(match.start())
            before = name
    return places
