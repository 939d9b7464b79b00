# Copyright (C) The ngx_snorky_module authors
#
# Reads metrics as Prometheus would, for t/status_prometheus.t:
#
#   python3 prometheus.py FILE
#
# The library's parser of the text format forgives much, and that of
# OpenMetrics little, to which the text differs in the names of counters and in
# its end: so both must like it, and agree.  Prints JSON:
#
#   { METRIC: { "type", "help", "samples": [[NAME, LABELS, VALUE], ...] } }

import json
import re
import sys

import prometheus_client.openmetrics.parser as openmetrics
import prometheus_client.parser as textformat


def families(parsed):
    found = {}

    for family in parsed:
        # Metrics of counters are called so in OpenMetrics only.

        name = family.name + ("_total" if family.type == "counter" else "")

        if name in found:
            raise ValueError("%s is not in one place" % name)

        if not family.documentation:
            raise ValueError("%s has no help" % name)

        found[name] = {
            "type": family.type,
            "help": family.documentation,
            "samples": [[s.name, s.labels, s.value] for s in family.samples],
        }

    return found


with open(sys.argv[1], encoding="utf-8", newline="") as f:
    text = f.read()

if re.search(r"\r|[ \t]$|^[ \t]|  ", text, re.M):
    raise ValueError("blanks where none belong")

strict = re.sub(r"^(# (?:HELP|TYPE) \w+)_total ", r"\1 ", text, flags=re.M)

result = families(textformat.text_string_to_metric_families(text))

if result != families(openmetrics.text_string_to_metric_families(
        strict + "# EOF\n")):
    raise ValueError("the parsers do not agree")

print(json.dumps(result))
