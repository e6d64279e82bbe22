"""The client protocol in Protobuf: its schema, what clients send read into Commands, what they are sent written.

The messages are the same as in JSON, and payloads travel as the bytes that they are. Sans-I/O, as all of the protocol.
"""
