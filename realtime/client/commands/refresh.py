"""Commands that extend a connection or a subscription with a new token: refresh and sub_refresh."""

from flotilla.realtime.access import tokens
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.token_renewal import follow, show_as
from flotilla.realtime.protocol import replies
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode
from flotilla.realtime.protocol.commands import TokenRequest


async def refresh(client: Client, id: int, request: TokenRequest) -> bytes:
    """Answer `refresh`: the new token must be the same user's; an expired one ends the connection with 3005.

    What the token says counts from now on; the reply comes when it does.
    """
    node = client.node
    if not request.token or client.identity.via != "token":
        raise DisconnectError(DisconnectCode.BAD_REQUEST, detail="refresh without need")
    try:
        claims = tokens.verify_connection(request.token, node.config, node.wall())
    except CommandError as error:
        raise DisconnectError(DisconnectCode.EXPIRED) from error
    if claims.user != client.identity.user:
        raise DisconnectError(DisconnectCode.INVALID_TOKEN, detail="refresh with another user's token")
    await follow(client, claims.identity())
    client.expire_at = claims.expire_at
    client.schedule()
    result = {"client": client.id, "version": node.version} | replies.expiry(claims.expire_at, node.wall())
    return replies.reply(id, "refresh", result)


async def sub_refresh(client: Client, id: int, request: TokenRequest) -> bytes:
    """Answer `sub_refresh`. An expired token is a temporary error: the client fetches another. One that is none ends
    the subscription, as the client takes error 103."""
    node = client.node
    if not request.channel:
        raise DisconnectError(DisconnectCode.BAD_REQUEST, detail="a command without a channel")
    subscription = client.subscriptions.get(request.channel)
    if subscription is None:
        raise CommandError(ErrorCode.PERMISSION_DENIED)
    if not request.token:
        raise CommandError(ErrorCode.BAD_REQUEST)
    try:
        claims = tokens.verify_subscription(
            request.token,
            node.config,
            node.wall(),
            channel=request.channel,
            client=client.id,
            user=client.identity.user,
        )
    except CommandError as error:
        expired = error.code == ErrorCode.TOKEN_EXPIRED
        raise CommandError(error.code, error.message, temporary=expired, detail=error.detail) from None
    await show_as(client, subscription, claims.info)
    subscription.expire_at = claims.expire_at
    client.schedule()
    return replies.reply(id, "sub_refresh", replies.expiry(claims.expire_at, node.wall()))
