"""Counts the cases of a `bazel test` run, from its build events and the test.xml of each test.

Prints `PASSED FAILED SKIPPED`. A test with cases of its own (gtest) counts as its cases, another one as one. A target that
can't be built counts as one failure.
"""

import argparse
import json
import os
import urllib.parse
import xml.etree.ElementTree as ElementTree


def read_cases(path):
    """Returns [(name, "passed" | "failed" | "skipped")] of one test.xml, or None if there is none that can be read."""
    try:
        tree = ElementTree.parse(path)
    except (OSError, ElementTree.ParseError):
        return None
    cases = []
    for case in tree.iter("testcase"):
        name = ".".join(filter(None, [case.get("classname"), case.get("name")]))
        if case.find("failure") is not None or case.find("error") is not None:
            cases.append((name, "failed"))
        elif case.find("skipped") is not None or case.get("status") == "notrun":
            cases.append((name, "skipped"))
        else:
            cases.append((name, "passed"))
    return cases


def count(events):
    """Returns ({label: [(case, outcome)]}, [label of what could not be built])."""
    cases = {}
    broken = []
    for event in events:
        identity = event["id"]
        if "testResult" in identity:
            label = identity["testResult"]["label"]
            result = event["testResult"]
            outputs = {output["name"]: output.get("uri", "") for output in result.get("testActionOutput", [])}
            path = urllib.parse.unquote(urllib.parse.urlparse(outputs.get("test.xml", "")).path)
            found = read_cases(path) if path else None
            passed = result["status"] == "PASSED"
            if not found:
                found = [(label, "passed" if passed else "failed")]
            elif not passed and all(outcome != "failed" for _, outcome in found):
                # As a timeout, or a sanitizer's report at the end.
                found.append(("%s (%s)" % (label, result["status"]), "failed"))
            # Shards and attempts come one by one.
            cases.setdefault(label, []).extend(found)
        elif "targetCompleted" in identity and not event.get("completed", {}).get("success", False):
            broken.append(identity["targetCompleted"]["label"])
    # A test that ran and failed is not a target that could not be built.
    return cases, sorted(set(broken) - set(cases))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("events", help="what --build_event_json_file wrote")
    parser.add_argument("--failures", required=True, help="file for one line per failed case")
    parser.add_argument("--executed", required=True, help="file for one line per target of which a case was not skipped")
    arguments = parser.parse_args()
    events = []
    if os.path.exists(arguments.events):
        with open(arguments.events, encoding="utf-8") as file:
            events = [json.loads(line) for line in file]
    cases, broken = count(events)

    totals = {"passed": 0, "failed": len(broken), "skipped": 0}
    with open(arguments.failures, "w", encoding="utf-8") as failures:
        with open(arguments.executed, "w", encoding="utf-8") as executed:
            for label in broken:
                failures.write("%s does not build\n" % label)
            for label, outcomes in sorted(cases.items()):
                if any(outcome != "skipped" for _, outcome in outcomes):
                    executed.write(label + "\n")
                for name, outcome in outcomes:
                    totals[outcome] += 1
                    if outcome == "failed":
                        failures.write("%s %s\n" % (label, name))
    print(totals["passed"], totals["failed"], totals["skipped"])


if __name__ == "__main__":
    main()
