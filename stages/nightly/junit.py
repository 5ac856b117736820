"""A run as JUnit XML, which CI servers read: failures, errors and skips kept apart."""

import re
from itertools import groupby
from typing import Any
from xml.etree import ElementTree as xml

from stages.nightly.summary import Summary

ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What may not stand in XML 1.0, however it is escaped."""

ELEMENTS = {"fail": "failure", "error": "error", "skipped": "skipped"}


def junit(summary: Summary) -> bytes:
    """The document: a suite for each project, a case for each of its boards."""
    jobs = sorted(summary["jobs"], key=lambda job: (job["project"], job["board"]))
    top = xml.Element("testsuites", {"name": "nightly", **_counts(jobs)})
    for project, group in groupby(jobs, key=lambda job: str(job["project"])):
        cases = list(group)
        suite = xml.SubElement(
            top,
            "testsuite",
            {
                "name": project,
                "timestamp": summary["started"][:19],
                **_counts(cases),
            },
        )
        for job in cases:
            _case(suite, job)
    xml.indent(top)
    document: bytes = xml.tostring(top, "utf-8", xml_declaration=True)
    return document + b"\n"


def _counts(jobs: list[dict[str, Any]]) -> dict[str, str]:
    verdicts = [job["verdict"] for job in jobs]
    return {
        "tests": str(len(jobs)),
        "failures": str(verdicts.count("fail")),
        "errors": str(verdicts.count("error")),
        "skipped": str(verdicts.count("skipped")),
        "time": f"{sum(job['seconds'] for job in jobs):.3f}",
    }


def _case(suite: xml.Element, job: dict[str, Any]) -> None:
    case = xml.SubElement(
        suite,
        "testcase",
        classname=job["project"],
        name=_legal(job["board"]) or "(no board)",
        time=f"{job['seconds']:.3f}",
    )
    if element := ELEMENTS.get(job["verdict"]):
        told = xml.SubElement(case, element, message=_legal(job["message"]))
        if element != "skipped":
            told.set("type", job["cause"])
    if job["worse"]:
        xml.SubElement(case, "system-out").text = _legal("\n".join(job["worse"]))


def _legal(text: str) -> str:
    return ILLEGAL.sub("�", text)
