"""Draws the pictures 1 to 30 with a Python client. Started by other-clients.mjs."""

import asyncio
import os
import sys
import threading

import numpy

PICTURES = 30


def picture(number):
    return numpy.full((14, 28, 3), number, dtype=numpy.uint8)


async def phare(url):
    from phare.auth import Auth
    from phare.lighthouse import Lighthouse

    async with await Lighthouse.connect(Auth("phare", "phare-token"), url) as lighthouse:
        for number in range(1, PICTURES + 1):
            await lighthouse.put_model(picture(number))


def pyghthouse(url):
    from pyghthouse import Pyghthouse
    from pyghthouse.ph import VerbosityLevel

    numbers = iter(range(1, PICTURES + 1))
    drawn = threading.Event()

    def next_picture():
        number = next(numbers, None)
        if number is None:
            drawn.set()
            number = PICTURES
        return picture(number)

    client = Pyghthouse("pyghthouse", "pyghthouse-token", address=url, frame_rate=60,
                        image_callback=next_picture, verbosity=VerbosityLevel.WARN)
    client.start()
    drawn.wait()
    client.close()
    # Its thread that reads asks only every ten seconds whether the connection is still there.
    os._exit(0)


client, url = sys.argv[1:]
if client == "phare":
    asyncio.run(phare(url))
else:
    pyghthouse(url)
