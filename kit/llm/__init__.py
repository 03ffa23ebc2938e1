"""One verb speaks to every model: `chat.ask("stage/verb", ReplyType, **values)`."""

from kit.llm.chat import Chat, connect
from kit.llm.ledger import Call, Tally, call_table, forecast, total_cost, trace, volume

__all__ = ["Call", "Chat", "Tally", "call_table", "connect", "forecast", "total_cost", "trace", "volume"]
