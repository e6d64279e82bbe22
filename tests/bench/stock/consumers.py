"""The tutorial's asynchronous consumer; and the same with history, as one adds it: a capped stream in Redis."""

import json

import redis.asyncio as redis
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

client = redis.from_url(settings.REDIS_URL)


class ChatConsumer(AsyncWebsocketConsumer):
    """A room of the tutorial's chat."""

    async def connect(self):
        self.room_name = self.scope["url_route"]["kwargs"]["room_name"]
        self.room_group_name = f"chat_{self.room_name}"
        await self.channel_layer.group_add(self.room_group_name, self.channel_name)
        await self.accept()

    async def disconnect(self, close_code):
        await self.channel_layer.group_discard(self.room_group_name, self.channel_name)

    async def receive(self, text_data):
        text_data_json = json.loads(text_data)
        message = text_data_json["message"]
        await self.channel_layer.group_send(self.room_group_name, {"type": "chat.message", "message": message})

    async def chat_message(self, event):
        message = event["message"]
        await self.send(text_data=json.dumps({"message": message}))


class KeepingConsumer(ChatConsumer):
    """Keeps the last hundred messages of its room."""

    async def receive(self, text_data):
        await client.xadd(f"history:{self.room_name}", {"d": text_data}, maxlen=100)
        await super().receive(text_data)
