from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer


class ChatConsumer(AsyncJsonWebsocketConsumer):
    """One room for everybody who is logged in, on the project's own channel layer."""

    groups = ["chat"]

    async def connect(self) -> None:
        user = self.scope["user"]
        if not user.is_authenticated:
            await self.close(code=4401)
            return
        await self.accept()
        await self.send_json({"hello": user.email, "layer": type(self.channel_layer).__name__})

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        said = {"type": "chat.said", "by": self.scope["user"].email, "text": content["text"]}
        await self.channel_layer.group_send("chat", said)

    async def chat_said(self, event: dict[str, Any]) -> None:
        await self.send_json({"by": event["by"], "text": event["text"]})
