"""How long models take: on this host, or on a phone that is attached through adb.

from qsr.benchmark import host_times, summary, time_ratio

first, second = host_times([("a", model), ("b", other)], lr_size=(360, 640))
print(summary(second).median_ms, time_ratio(second, first))
"""

from qsr.benchmark.adb import Phone, attached_phone
from qsr.benchmark.host import check_size, host_name, host_times, latency
from qsr.benchmark.phone import PhoneTimes, phone_times
from qsr.benchmark.times import CHALLENGE_LR_SIZE, Latency, TimeRatio, summary, time_ratio
from qsr.benchmark.tool import Delegate, ToolSettings, check_settings

__all__ = [
    "CHALLENGE_LR_SIZE",
    "Delegate",
    "Latency",
    "Phone",
    "PhoneTimes",
    "TimeRatio",
    "ToolSettings",
    "attached_phone",
    "check_settings",
    "check_size",
    "host_name",
    "host_times",
    "latency",
    "phone_times",
    "summary",
    "time_ratio",
]
