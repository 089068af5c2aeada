"""People rate: a full-screen session, or plain lines, over the same machine."""
