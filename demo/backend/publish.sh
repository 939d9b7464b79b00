#!/bin/sh
#
# Copyright (C) The ngx_snorky_module authors
#
# Publishes with curl, from a shell: see docs/backend.md.
#
#   SNORKY_URL=http://127.0.0.1:8080/backend SNORKY_KEY=... \
#       publish.sh SERVICE CHANNEL [JSON]
#
# The service is of the type pubsub_backend, and the channel is a text.  The
# message is the JSON value, or without it the standard input as a text.
# The exit status is 1 when nothing was published, and 3 when that is not known.

set -eu
LC_ALL=C
export LC_ALL

fail() {
    status=$1
    shift
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit "$status"
}


# the standard input, of any bytes, as a string of JSON

string() {
    od -An -v -tu1 | awk '
        BEGIN { printf "\"" }
        {
            for (i = 1; i <= NF; i++) {
                byte = $i + 0
                printf(byte < 32 ? "\\u%04x" : \
                       byte == 34 || byte == 92 ? "\\%c" : "%c", byte)
            }
        }
        END { printf "\"" }'
}


# Whether the text cannot be more than one value.  Strings, and then arrays
# and objects from the inside, become a 0; that it is JSON is for nginx to see.

value() {
    left=$(printf '%s' "$1" | tr '\n' ' ' | sed -e 's/\\.//g' \
        -e 's/"[^"]*"/0/g' -e ':a' -e 's/[[{][^][{}"]*[]}]/0/g' -e 'ta')

    case $left in
        '' | *[],:\"{}[]*) return 1 ;;
    esac
}


if [ $# != 2 ] && [ $# != 3 ]; then
    echo "usage: $0 SERVICE CHANNEL [JSON]" >&2
    exit 2
fi

service=$(printf '%s' "$1" | string)
channel=$(printf '%s' "$2" | string)

if [ $# = 3 ]; then
    value "$3" || fail 1 'the message is no JSON'
    message=$3
else
    message=$(string)
fi

# The key is not among curl's arguments, which others on the machine can see.

params=$(printf '{"channel":%s,"message":%s}' "$channel" "$message")
call=$(printf '{"command":"publish","params":%s,"callId":1}' "$params")

answer=$(printf '{"service":%s,"message":%s}' "$service" "$call" \
    | curl -sS --max-time 15 -H @/dev/fd/3 -H 'Content-Type: application/json' \
        --data-binary @- -w '\n%{http_code}' "$SNORKY_URL" 3<<END
X-Backend-Key: $SNORKY_KEY
END
) || fail 3 'no answer'

case $answer in
    *'"message":{"type":"response",'*'
200')
        ;;
    *'"message":{"type":"error",'*)
        fail 1 "${answer%
*}" ;;
    *'
500' | *'
502' | *'
504')
        # nginx, or a proxy before it, may have failed when all was done
        fail 3 "HTTP status ${answer##*
}" ;;
    *)
        fail 1 "HTTP status ${answer##*
}" ;;
esac
