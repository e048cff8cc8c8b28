"""A WebRTC peer that shares no code with browsers or the gateway: aiortc.

    peer.py WHIP_URL WHEP_URL CODEC SECONDS

publishes a moving picture and a tone by WHIP, watches them by WHEP, deletes
both sessions and prints what it saw as one line of JSON. TEACHER and STUDENT
in the environment are the tokens.
"""

import asyncio
import fractions
import json
import os
import sys
import time
import urllib.parse
import urllib.request

import numpy
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from aiortc.rtcrtpsender import RTCRtpSender
from av import AudioFrame, VideoFrame

RATE = 48000  # Hz


class Picture(VideoStreamTrack):
    """A bar that moves from left to right, 30 times a second."""

    n = 0

    async def recv(self):
        pts, base = await self.next_timestamp()
        self.n += 1
        x = self.n * 4 % 300
        a = numpy.full((240, 320, 3), 20, numpy.uint8)
        a[:, x : x + 20] = 220
        frame = VideoFrame.from_ndarray(a, format="bgr24")
        frame.pts, frame.time_base = pts, base
        return frame


class Tone(MediaStreamTrack):
    """A sine of 440 Hz in frames of 20 ms."""

    kind = "audio"
    n = 0
    began = None

    async def recv(self):
        self.began = self.began or time.time()
        await asyncio.sleep(max(0, self.began + self.n / RATE - time.time()))
        t = (self.n + numpy.arange(RATE // 50)) / RATE
        mono = (numpy.sin(2 * numpy.pi * 440 * t) * 8000).astype(numpy.int16)
        frame = AudioFrame.from_ndarray(numpy.repeat(mono, 2).reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self.n, fractions.Fraction(1, RATE)
        self.n += RATE // 50
        return frame


def request(method, url, token, body=None):
    headers = {"Authorization": "Bearer " + token, "Prefer": "wait"}
    if body is not None:
        headers["Content-Type"] = "application/sdp"
    r = urllib.request.Request(url, method=method, data=body, headers=headers)
    with urllib.request.urlopen(r, timeout=10) as f:
        return f.status, urllib.parse.urljoin(url, f.headers.get("Location", "")), f.read().decode()


async def connect(pc, url, token):
    """Makes the session and returns its address. All candidates are in the offer."""
    await pc.setLocalDescription(await pc.createOffer())
    offer = pc.localDescription.sdp.encode()
    _, session, answer = await asyncio.to_thread(request, "POST", url, token, offer)
    await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    return session


async def count(track, seen):
    """Decodes what comes on track until it ends."""
    while True:
        try:
            frame = await track.recv()
        except Exception:  # MediaStreamError: the end
            return
        seen[track.kind] += 1
        if track.kind == "audio":
            seen["peak"] = max(seen["peak"], int(abs(frame.to_ndarray()).max()))


async def main(whip, whep, codec, seconds):
    teacher, student = os.environ["TEACHER"], os.environ["STUDENT"]
    sender, viewer = RTCPeerConnection(), RTCPeerConnection()
    sender.addTransceiver(Tone(), direction="sendonly")
    video = sender.addTransceiver(Picture(), direction="sendonly")
    all_codecs = RTCRtpSender.getCapabilities("video").codecs
    video.setCodecPreferences([c for c in all_codecs if c.mimeType in ("video/" + codec, "video/rtx")])
    published = await connect(sender, whip, teacher)

    seen = {"video": 0, "audio": 0, "peak": 0}
    tasks = []
    viewer.on("track", lambda track: tasks.append(asyncio.ensure_future(count(track, seen))))
    viewer.addTransceiver("audio", direction="recvonly")
    viewer.addTransceiver("video", direction="recvonly")
    watched = await connect(viewer, whep, student)
    await asyncio.sleep(float(seconds))
    seen["states"] = [sender.connectionState, viewer.connectionState]
    seen["deleted"] = [
        (await asyncio.to_thread(request, "DELETE", watched, student))[0],
        (await asyncio.to_thread(request, "DELETE", published, teacher))[0],
    ]
    await viewer.close()
    await sender.close()
    for task in tasks:
        task.cancel()
    print(json.dumps(seen))


asyncio.run(main(*sys.argv[1:]))
