"""Webhooks, received: the service tells of an SMS, so that nobody has to ask.

What a request must be is pure (`papsms_async.webhook.core`). `WebhookReceiver` writes webhooks into
the inbox of a ledger before it answers; a manager hears them from there. Two applications put it on
the network: `papsms_async.webhook.aiohttp_app` and `papsms_async.webhook.asgi`, to be mounted in a
service; `papsms_async.webhook.listener` listens by itself.
"""
