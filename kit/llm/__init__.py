"""One verb speaks to every model: `chat.ask("stage/verb", ReplyType, **values)`."""

from kit.llm.chat import Chat, connect
from kit.llm.ledger import call_table, total_cost

__all__ = ["Chat", "call_table", "connect", "total_cost"]
