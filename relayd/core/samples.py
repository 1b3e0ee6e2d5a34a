"""Sample data of each event type, as a farmers' market would send it. Amounts are in cents."""

from collections.abc import Mapping
from types import MappingProxyType

from relayd.core.email_samples import EMAIL_SAMPLES
from relayd.core.json_text import JsonValue

_ITEM: JsonValue = {
    "product_id": "prod_123",
    "name": "Organic Tomatoes",
    "quantity": 2,
    "price": 1200,
    "grower_id": "grower_456",
}


def _order(**changes: JsonValue) -> dict[str, JsonValue]:
    order: dict[str, JsonValue] = {
        "id": "order_456",
        "customer_id": "user_789",
        "status": "pending",
        "total": 4250,
        "currency": "usd",
        "items": [_ITEM],
        "pickup_location": "Downtown Farmers Market",
        "pickup_date": "2024-01-15",
        "created_at": "2024-01-10T10:30:00Z",
    }
    return {"object": order | changes}


def _user(**changes: JsonValue) -> dict[str, JsonValue]:
    user: dict[str, JsonValue] = {
        "id": "user_789",
        "email": "rosa@example.com",
        "name": "Rosa Alvarez",
        "role": "customer",
        "created_at": "2024-01-08T16:05:00Z",
    }
    return {"object": user | changes}


def _product(**changes: JsonValue) -> dict[str, JsonValue]:
    product: dict[str, JsonValue] = {
        "id": "prod_123",
        "grower_id": "grower_456",
        "name": "Organic Tomatoes",
        "category": "vegetables",
        "unit": "lb",
        "price": 1200,
        "currency": "usd",
        "quantity_available": 40,
        "available": True,
        "created_at": "2024-01-05T08:00:00Z",
    }
    return {"object": product | changes}


def _payment(**changes: JsonValue) -> dict[str, JsonValue]:
    payment: dict[str, JsonValue] = {
        "id": "pay_321",
        "order_id": "order_456",
        "customer_id": "user_789",
        "amount": 4250,
        "currency": "usd",
        "method": "card",
        "status": "succeeded",
        "created_at": "2024-01-10T10:31:00Z",
    }
    return {"object": payment | changes}


SAMPLES: Mapping[str, dict[str, JsonValue]] = MappingProxyType(
    {
        "order.created": _order(),
        "order.updated": _order(
            status="confirmed", pickup_date="2024-01-16", updated_at="2024-01-11T09:12:00Z"
        ),
        "order.completed": _order(status="completed", completed_at="2024-01-15T11:45:00Z"),
        "order.cancelled": _order(
            status="cancelled",
            cancelled_at="2024-01-12T18:20:00Z",
            cancellation_reason="customer_request",
        ),
        "order.payment_processed": _order(
            status="paid", payment_id="pay_321", paid_at="2024-01-10T10:31:00Z"
        ),
        "user.created": _user(),
        "user.updated": _user(phone="+1 555 0100", updated_at="2024-01-09T12:00:00Z"),
        "user.deleted": _user(deleted_at="2024-02-01T07:30:00Z"),
        "user.role_changed": _user(
            role="grower", previous_role="customer", changed_at="2024-01-20T14:10:00Z"
        ),
        "product.created": _product(),
        "product.updated": _product(price=1100, updated_at="2024-01-12T06:40:00Z"),
        "product.deleted": _product(available=False, deleted_at="2024-03-01T06:00:00Z"),
        "inventory.updated": {
            "object": {
                "product_id": "prod_123",
                "grower_id": "grower_456",
                "quantity_available": 38,
                "previous_quantity": 40,
                "reason": "order_placed",
                "updated_at": "2024-01-10T10:30:00Z",
            }
        },
        "payment.succeeded": _payment(),
        "payment.failed": _payment(
            status="failed",
            failure_code="card_declined",
            failure_message="The card was declined.",
        ),
        "payment.refunded": _payment(
            status="refunded",
            amount_refunded=1200,
            refund_reason="product_unavailable",
            refunded_at="2024-01-15T12:30:00Z",
        ),
        "balance.updated": {
            "object": {
                "account_id": "grower_456",
                "balance": 18640,
                "previous_balance": 14390,
                "currency": "usd",
                "reason": "payment_succeeded",
                "payment_id": "pay_321",
                "updated_at": "2024-01-10T10:31:00Z",
            }
        },
        **EMAIL_SAMPLES,
        "relayd.endpoint.failing": {
            "object": {
                "url": "https://your-app.com/…",
                "subscriptions": ["bookkeeping"],
                "failures": 12,
                "attempts": 20,
                "failing_since": 1640995200,
                "last_failure": "answered 503",
                "next": "the receiver is overloaded or in maintenance; relayd goes on by itself",
            }
        },
        "relayd.endpoint.recovered": {
            "object": {
                "url": "https://your-app.com/…",
                "subscriptions": ["bookkeeping"],
                "failing_since": 1640995200,
                "recovered_at": 1641002400,
            }
        },
        "relayd.endpoint.throttled": {
            "object": {
                "url": "https://your-app.com/webhooks/locallygrown",
                "subscriptions": ["bookkeeping"],
                "status": 503,
                "until": 1641002400,
            }
        },
        "relayd.subscription.held": {
            "object": {
                "subscription": "bookkeeping",
                "url": "https://your-app.com/…",
                "status": 410,
                "reason": "its receiver answered 410 Gone",
                "since": 1640995200,
                "ids": ["dlv_x7k2_42"],
                "next": "relayd resume bookkeeping",
            }
        },
        "relayd.delivery.exhausted": {
            "object": {
                "subscription": "bookkeeping",
                "event_type": "order.created",
                "attempts": 6,
                "reason": "answered 503",
                "count": 2,
                "since": 1640995200,
                "ids": ["dlv_x7k2_42", "dlv_x7k2_43"],
                "next": (
                    "the receiver is overloaded or in maintenance; then `relayd replay bookkeeping`"
                ),
            }
        },
        "relayd.input.rejected": {
            "object": {
                "source": "spool market",
                "code": "invalid_type",
                "reason": "the type is 'Order Created'; it must be lower-case words joined by dots",
                "count": 1,
                "since": 1640995200,
                "ids": ["7"],
                "next": "relayd rejected list",
            }
        },
        "relayd.reload.refused": {
            "object": {
                "code": "configuration",
                "reason": "config.yaml:12:5: subscriptions.bookkeeping.urls: unknown key (url?)",
                "reasons": ["config.yaml:12:5: subscriptions.bookkeeping.urls: unknown key (url?)"],
                "count": 1,
                "refusals": 1,
                "since": 1640995200,
                "next": "relayd check",
            }
        },
        "relayd.source.unavailable": {
            "object": {
                "source": "spool market",
                "reason": "the spool is missing: /var/lib/relayd/spool/spool.db",
                "since": 1640995200,
                "next": "relayd status",
            }
        },
        "relayd.source.recovered": {
            "object": {
                "source": "spool market",
                "since": 1640995200,
                "recovered_at": 1641002400,
            }
        },
    }
)
