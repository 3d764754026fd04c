"""Permissions bind root too, so that tests of them can be run by anybody."""

import os

WITHOUT_ROOTS_POWERS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if not os.getuid() else ()
"""Put before a command."""
