"""The Centrifuge client protocol, sans-I/O: codes, commands, replies, frames. Imports nothing of ours."""
