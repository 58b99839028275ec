#!/bin/sh
# Requests made from the server's own description; no answer may be a server error. $1: the FHIR base, $2: the program.
set -eu
exec "$2" run "${1%/fhir}/openapi.json" --include-path-regex '/(Patient|Observation|Bundle|AuditEvent)|/fhir$|/fhir/(metadata|_history)' \
  --phases coverage,fuzzing --checks not_a_server_error --max-examples 10 --seed 1 --no-color
