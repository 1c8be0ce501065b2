"""The demo of the example `pos`: three mirrors, a line that is cut, mirrors that are killed; `make demo`."""
