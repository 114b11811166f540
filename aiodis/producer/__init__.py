"""The path of a record out: router, accumulator, lane, pacing, dispatcher, ledger."""

from aiodis.producer.ledger import ProducerStats
from aiodis.producer.producer import FlushReport, Producer
from aiodis.producer.receipt import Receipt

__all__ = ["FlushReport", "Producer", "ProducerStats", "Receipt"]
