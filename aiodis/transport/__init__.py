"""The only client sockets: encode, sign, send, decode, inside one retry loop."""
