"""Commands that extend a connection or a subscription with a new token: refresh and sub_refresh."""

from flotilla.realtime.access import tokens
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.commands.requests import require_channel
from flotilla.realtime.client.token_renewal import apply_token, change_info
from flotilla.realtime.protocol import replies
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode
from flotilla.realtime.protocol.commands import TokenRequest


async def refresh(client: Client, id: int, request: TokenRequest) -> bytes:
    """Answer `refresh`: the new token must be the same user's; an expired one ends the connection with 3005.

    Where its issuer's keys cannot be had, the client is told to try again. The reply comes when the connection is what
    the token says.
    """
    node = client.node
    if not request.token or client.identity.via != "token":
        raise DisconnectError(DisconnectCode.BAD_REQUEST, detail="refresh without need")
    try:
        claims = await tokens.averify_connection(request.token, node.config, node.wall())
    except CommandError as error:
        if error.code != ErrorCode.TOKEN_EXPIRED:
            raise
        raise DisconnectError(DisconnectCode.EXPIRED) from error
    if claims.user != client.identity.user:
        raise DisconnectError(DisconnectCode.INVALID_TOKEN, detail="refresh with another user's token")
    await apply_token(client, claims.identity())
    client.expire_at = claims.expire_at
    client.schedule()
    result = {"client": client.id, "version": node.version} | replies.expiry(claims.expire_at, node.wall())
    return client.encoding.reply(id, "refresh", result)


async def sub_refresh(client: Client, id: int, request: TokenRequest) -> bytes:
    """Answer `sub_refresh`. An expired token is a temporary error: the client fetches another. A wrong one is error
    103, after which the client ends the subscription."""
    node = client.node
    require_channel(request.channel)
    subscription = client.subscriptions.get(request.channel)
    if subscription is None:
        raise CommandError(ErrorCode.PERMISSION_DENIED)
    if not request.token:
        raise CommandError(ErrorCode.BAD_REQUEST)
    try:
        claims = await tokens.averify_subscription(
            request.token,
            node.config,
            node.wall(),
            channel=request.channel,
            client=client.id,
            user=client.identity.user,
        )
    except CommandError as error:
        again = error.temporary or error.code == ErrorCode.TOKEN_EXPIRED
        raise CommandError(error.code, error.message, temporary=again, detail=error.detail) from None
    await change_info(client, subscription, claims.info)
    subscription.expire_at = claims.expire_at
    client.schedule()
    return client.encoding.reply(id, "sub_refresh", replies.expiry(claims.expire_at, node.wall()))
