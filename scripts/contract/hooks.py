"""What schemathesis cannot write by itself: lines of JSON, as text."""

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    return value.encode() if isinstance(value, str) else b"\n".join(str(line).encode() for line in [value])
