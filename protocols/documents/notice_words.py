"""What a notice says, in English and in German. One key, one sentence in every language.

A further language is a further mapping with the same keys and the same names in braces; a test
compares them. Short sentences and plain words: the grade is measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

Words = Mapping[str, str]

_EN: Final[Words] = {
    "title": "How {shop} learns from what you buy",
    "who": "Who we are",
    "we": "We are {owner}, {address}. We run {shop}. You reach us at {contact}.",
    "rep": "In the EU this person speaks for us: {representative}.",
    "dpo": "You reach our data protection officer at {dpo}.",
    "no_dpo": "We have no data protection officer, as the law does not ask us for one.",
    "joint": "With other shops we form {coop}. We decide with them why and how we learn from "
    "sales. All of us answer for that to you. For questions, turn to: {contact}. You may also "
    "turn to any other shop in it. Ask us for the page with the main points.",
    "each": "With other shops we form {coop}. Each shop answers for its own customers.",
    "what": "What we do",
    "why": "Why we may do it",
    "consent": "{purpose}: only if you say yes (consent, art. 6(1)(a) GDPR).",
    "interest": "{purpose}: our legitimate interest (art. 6(1)(f) GDPR).",
    "none": "{purpose}: we count goods sold, and read no line as that of a person.",
    "data": "Which data",
    "kinds": "Of what you buy here: {columns}.",
    "keyed": "You stand in them under a number that only we can make. Your name is not there.",
    "plain": "You do not stand in them.",
    "source": "We get them from our own sales records, so from you, when you buy.",
    "must": "You do not have to give them to us. If you say no, you shop here as before.",
    "who_gets": "Who gets them",
    "nobody": "No shop and no server gets your data. The server of {operator} gets sums only, "
    "and each sum holds at least {floor} shops.",
    "models": "Only what was learned from these sums goes to {recipients}.",
    "members": "the shops of {coop}",
    "contributors": "the shops that helped",
    "noise": "We add chance to the sums, so that nobody can tell if you are in them.",
    "helpers": "These may see our computer when they help us: {helpers}.",
    "no_abroad": "The server is in {country}. Nothing goes to a country outside the EU and EEA.",
    "abroad": "Sums go to a server or helper outside the EU and EEA: {countries}. {safeguards}",
    "adequate": "The EU Commission has found the protection there good enough.",
    "how_long": "How long",
    "keep": "We keep lines of sales for {span}, then we delete them.",
    "keep_models": "What was learned is kept for {span}.",
    "rights": "Your rights",
    "list": "You may ask what we hold about you and get a copy. You may have it corrected or "
    "erased. You may have its use limited, object to its use, or take it along in a file.",
    "answer": "We answer within {days} days, for free.",
    "withdraw": "You said yes? You can take it back at any time: tell us. What was done before "
    "stays lawful.",
    "complain": "You may complain to {authority}.",
    "machine": "No machine decides about you. A list may name customers who might stay away; a "
    "person looks at it before we write to you.",
    "object_title": "You may object",
    "object": "You may object at any time to our use of your data for: {purposes}. Tell us, and "
    "we stop. To advertising you may object without a reason.",
    "grade": "How hard it reads: grade {grade}.",
    "as_of": "As of {day}.",
}
_DE: Final[Words] = {
    "title": "Wie {shop} aus Ihren Einkäufen lernt",
    "who": "Wer wir sind",
    "we": "Wir sind {owner}, {address}. Wir führen {shop}. Sie erreichen uns so: {contact}.",
    "rep": "In der EU spricht für uns: {representative}.",
    "dpo": "Unsere Datenschutzbeauftragte erreichen Sie so: {dpo}.",
    "no_dpo": "Datenschutzbeauftragte haben wir nicht; das Gesetz verlangt sie von uns nicht.",
    "joint": "Mit anderen Läden bilden wir {coop}. Mit ihnen legen wir fest, warum und wie wir "
    "aus Verkäufen lernen. Dafür stehen wir Ihnen alle ein. Fragen Sie hier: {contact}. Sie "
    "können sich auch an jeden anderen Laden darin wenden. Wir geben Ihnen gern das Blatt mit "
    "dem Wichtigsten.",
    "each": "Mit anderen Läden bilden wir {coop}. Jeder Laden steht für seine Kunden ein.",
    "what": "Was wir tun",
    "why": "Warum wir das dürfen",
    "consent": "{purpose}: nur wenn Sie Ja sagen (Einwilligung, Art. 6 Abs. 1 a DSGVO).",
    "interest": "{purpose}: unser berechtigtes Interesse (Art. 6 Abs. 1 f DSGVO).",
    "none": "{purpose}: Wir zählen Waren und lesen keine Zeile als die einer Person.",
    "data": "Welche Daten",
    "kinds": "Von dem, was Sie hier kaufen: {columns}.",
    "keyed": "Sie stehen darin unter einer Zahl, die nur wir bilden können. Ihr Name steht "
    "nicht da.",
    "plain": "Sie selbst stehen nicht darin.",
    "source": "Wir haben sie aus unserer Kasse, also von Ihnen, wenn Sie kaufen.",
    "must": "Sie müssen uns nichts geben. Sagen Sie Nein, so kaufen Sie hier ein wie zuvor.",
    "who_gets": "Wer sie bekommt",
    "nobody": "Kein Laden und kein Server bekommt Ihre Daten. Der Server von {operator} bekommt "
    "nur Summen, jede aus mindestens {floor} Läden.",
    "models": "Nur was aus den Summen gelernt ist, geht an {recipients}.",
    "members": "die Läden von {coop}",
    "contributors": "die Läden, die geholfen haben",
    "noise": "Wir mischen Zufall in die Summen. So sieht niemand, ob Sie darin sind.",
    "helpers": "Wer uns hilft, kann den Rechner sehen: {helpers}.",
    "no_abroad": "Der Server steht hier: {country}. Nichts geht in ein Land außerhalb von EU und "
    "EWR.",
    "abroad": "Summen gehen an einen Server oder Helfer außerhalb von EU und EWR: {countries}. "
    "{safeguards}",
    "adequate": "Die EU-Kommission hält den Schutz dort für gut genug.",
    "how_long": "Wie lange",
    "keep": "Wir behalten die Zeilen der Kasse {span}, dann löschen wir sie.",
    "keep_models": "Was gelernt ist, bleibt {span}.",
    "rights": "Ihre Rechte",
    "list": "Sie können fragen, was wir über Sie haben, und bekommen es als Kopie. Sie können es "
    "berichtigen oder löschen lassen. Sie können es sperren lassen, dem Gebrauch widersprechen "
    "oder es als Datei mitnehmen.",
    "answer": "Wir antworten in {days} Tagen, ohne Kosten.",
    "withdraw": "Sie haben Ja gesagt? Das können Sie jederzeit zurücknehmen: Sagen Sie es uns. "
    "Was vorher war, bleibt erlaubt.",
    "complain": "Sie können sich hier beschweren: {authority}.",
    "machine": "Über Sie entscheidet keine Maschine. Auf einer Liste kann stehen, wer wohl "
    "wegbleibt; ein Mensch sieht sie an, bevor wir Ihnen schreiben.",
    "object_title": "Sie können widersprechen",
    "object": "Sie können jederzeit dem Gebrauch Ihrer Daten widersprechen, und zwar für: "
    "{purposes}. Sagen Sie es uns, dann hören wir auf. Gegen Werbung brauchen Sie keinen Grund.",
    "grade": "So schwer liest es sich: Stufe {grade}.",
    "as_of": "Stand: {day}.",
}
NOTICE: Final[Mapping[str, Words]] = {"en": _EN, "de": _DE}

PURPOSES: Final[Mapping[str, Words]] = {
    "en": {
        "train:demand": "To order the right amount of goods",
        "train:churn": "To see which regular customers may stay away",
    },
    "de": {
        "train:demand": "Damit wir die richtige Menge bestellen",
        "train:churn": "Damit wir sehen, wer von den Stammkunden wohl wegbleibt",
    },
}
"""Purposes of the installed workloads, as customers read them."""

COLUMNS: Final[Mapping[str, Words]] = {
    "en": {
        "order_ref": "the number of the receipt",
        "ts_utc": "the time",
        "business_date": "the day",
        "sku": "the number of the article",
        "product": "the article",
        "category_code": "the kind of article",
        "category": "the kind of article",
        "qty": "how many",
        "unit_price": "the price",
        "discount": "the discount",
        "net": "what was paid",
        "currency": "the currency",
        "channel": "shop or web",
        "location": "the branch",
        "is_return": "whether it came back",
        "customer_key": "a number that stands for you",
        "first_seen": "the day you first came",
        "country": "your country",
        "region": "your region",
        "source": "where we got it from",
    },
    "de": {
        "order_ref": "die Nummer des Bons",
        "ts_utc": "die Uhrzeit",
        "business_date": "der Tag",
        "sku": "die Nummer der Ware",
        "product": "die Ware",
        "category_code": "die Art der Ware",
        "category": "die Art der Ware",
        "qty": "wie viel",
        "unit_price": "der Preis",
        "discount": "der Rabatt",
        "net": "was bezahlt wurde",
        "currency": "die Währung",
        "channel": "Laden oder Netz",
        "location": "die Filiale",
        "is_return": "ob es zurückkam",
        "customer_key": "eine Zahl, die für Sie steht",
        "first_seen": "der Tag, an dem Sie zuerst kamen",
        "country": "Ihr Land",
        "region": "Ihre Gegend",
        "source": "woher wir es haben",
    },
}
COUNTRIES: Final[Mapping[str, Words]] = {
    "en": {
        "AT": "Austria", "BE": "Belgium", "BG": "Bulgaria", "CH": "Switzerland", "CY": "Cyprus",
        "CZ": "Czechia", "DE": "Germany", "DK": "Denmark", "EE": "Estonia", "ES": "Spain",
        "FI": "Finland", "FR": "France", "GB": "the United Kingdom", "GR": "Greece",
        "HR": "Croatia", "HU": "Hungary", "IE": "Ireland", "IS": "Iceland", "IT": "Italy",
        "LI": "Liechtenstein", "LT": "Lithuania", "LU": "Luxembourg", "LV": "Latvia",
        "MT": "Malta", "NL": "the Netherlands", "NO": "Norway", "PL": "Poland",
        "PT": "Portugal", "RO": "Romania", "SE": "Sweden", "SI": "Slovenia", "SK": "Slovakia",
        "US": "the United States",
    },
    "de": {
        "AT": "Österreich", "BE": "Belgien", "BG": "Bulgarien", "CH": "Schweiz", "CY": "Zypern",
        "CZ": "Tschechien", "DE": "Deutschland", "DK": "Dänemark", "EE": "Estland",
        "ES": "Spanien", "FI": "Finnland", "FR": "Frankreich", "GB": "Vereinigtes Königreich",
        "GR": "Griechenland", "HR": "Kroatien", "HU": "Ungarn", "IE": "Irland", "IS": "Island",
        "IT": "Italien", "LI": "Liechtenstein", "LT": "Litauen", "LU": "Luxemburg",
        "LV": "Lettland", "MT": "Malta", "NL": "Niederlande", "NO": "Norwegen", "PL": "Polen",
        "PT": "Portugal", "RO": "Rumänien", "SE": "Schweden", "SI": "Slowenien",
        "SK": "Slowakei", "US": "Vereinigte Staaten",
    },
}  # fmt: skip


def country(code: str, locale: str) -> str:
    """A country in words, or its code where there is none here."""
    return COUNTRIES[locale].get(code, code)


_FOR_OWNERS: Final[Words] = {
    "customer_key": "a number that stands for the customer",
    "first_seen": "the day of the first visit",
    "country": "the customer's country",
    "region": "the customer's region",
    "source": "which system listed the customer",
    "category": "the kind of article, as the till prints it",
    "on_hand": "how much is there",
    "incoming": "how much is on its way",
    "as_of": "the day of the count",
}


def in_words(columns: Iterable[str]) -> str:
    """Columns as the owner reads them, each with its name in the tables behind it."""
    known = {**COLUMNS["en"], **_FOR_OWNERS}
    said = []
    for column in columns:
        words = known.get(column.rpartition(".")[2])
        said.append(f"{words} ({column})" if words else column)
    return ", ".join(said)
