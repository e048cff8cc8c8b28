// What the end-to-end tests do inside a page with the browser's own WebRTC, not
// with the code of our pages: publish, watch, look at statistics.
(() => {
  const T = (window.T = { sessions: [] });

  // A clap: once a second the picture turns white and a tone sounds, for 150 ms.
  T.clap = (width = 640, height = 360) => {
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    const g = canvas.getContext("2d");
    const ac = new AudioContext({ sampleRate: 48000 });
    const out = ac.createMediaStreamDestination();
    const tone = ac.createOscillator();
    const gate = ac.createGain();
    gate.gain.value = 0;
    tone.frequency.value = 1000;
    tone.connect(gate).connect(out);
    tone.start();
    let next = Math.ceil(ac.currentTime + 0.5);
    let n = 0;
    const timer = setInterval(() => {
      const now = ac.currentTime;
      if (now > next - 0.3 && T.clapAt !== next) {
        T.clapAt = next;
        gate.gain.setValueAtTime(0.5, next);
        gate.gain.setValueAtTime(0, next + 0.15);
      }
      const on = now >= next && now < next + 0.15;
      if (now >= next + 0.15) next += 1;
      g.fillStyle = on ? "#fff" : "#000";
      g.fillRect(0, 0, canvas.width, canvas.height);
      g.fillStyle = `hsl(${(n * 7) % 360} 80% 30%)`;
      g.fillRect((n * 5) % canvas.width, canvas.height - 30, 40, 20); // no two frames alike
      n++;
    }, 15);
    const stream = canvas.captureStream(30);
    for (const t of out.stream.getTracks()) stream.addTrack(t);
    return { stream, canvas, stop: () => (clearInterval(timer), ac.close()) };
  };

  const gathered = (pc) =>
    new Promise((done) => {
      if (pc.iceGatheringState === "complete") return done();
      const timer = setTimeout(done, 1500);
      pc.addEventListener("icegatheringstatechange", () => {
        if (pc.iceGatheringState === "complete") clearTimeout(timer), done();
      });
    });

  // The data channels, made before the offer; see docs/PROTOCOL.md.
  const talk = (s) => {
    s.events = [];
    s.answers = new Map();
    s.files = new Map();
    s.chat = s.pc.createDataChannel("chat", { ordered: true, protocol: "lectern.v1" });
    s.share = s.pc.createDataChannel("files", { ordered: true, protocol: "lectern.v1" });
    s.share.binaryType = "arraybuffer";
    s.chat.onmessage = ({ data }) => {
      const m = JSON.parse(data);
      if (m.type === "welcome") s.welcome = m;
      else if (m.type === "ok" || m.type === "error") s.answers.get(m.ref)?.(m);
      else if (m.seq) s.events.push(m);
    };
    s.share.onmessage = ({ data }) => {
      if (typeof data === "string") {
        const m = JSON.parse(data);
        s.files.get(m.id)?.(m);
      }
    };
  };

  // Leaves the candidates of one transport, "udp" or "tcp".
  const onlyBy = (transport, sdp) => sdp.replace(/a=candidate:\S+ \d+ (\S+) [^\r\n]*\r\n/g, (line, t) => (t.toLowerCase() === transport ? line : ""));

  const signal = async (s, url, token, headers = {}) => {
    await s.pc.setLocalDescription(await s.pc.createOffer());
    let offer = s.pc.localDescription.sdp;
    if (s.munge) offer = s.munge(offer);
    await gathered(s.pc);
    offer = s.pc.localDescription.sdp;
    if (s.only) offer = onlyBy(s.only, offer);
    s.started = performance.now();
    const r = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/sdp", Authorization: `Bearer ${token}`, ...headers },
      body: offer,
    });
    s.status = r.status;
    const text = await r.text();
    if (r.status !== 201) throw new Error(`${r.status}: ${text}`);
    s.location = new URL(r.headers.get("Location"), location.href).href;
    s.etag = r.headers.get("ETag");
    s.token = token;
    let answer = text;
    if (s.only) answer = onlyBy(s.only, answer);
    if (s.dtx) answer = answer.replace(/(a=fmtp:\d+ [^\r\n]*useinbandfec=1)/, "$1;usedtx=1");
    await s.pc.setRemoteDescription({ type: "answer", sdp: answer });
    T.sessions.push(s);
    s.id = T.sessions.length - 1;
    return s.id;
  };

  const prefer = (transceiver, codec, kind) => {
    if (!codec) return;
    const all = RTCRtpSender.getCapabilities(kind).codecs;
    const want = all.filter((c) => c.mimeType.toLowerCase() === `video/${codec}`.toLowerCase());
    const aux = all.filter((c) => /rtx|red|ulpfec/.test(c.mimeType));
    transceiver.setCodecPreferences([...want, ...aux]);
  };

  T.publish = async ({ url, token, codec, source = "camera", dtx = false, width, height, audio = true, encodings }) => {
    const s = { pc: new RTCPeerConnection(T.config), dtx };
    if (source === "clap") {
      s.clap = T.clap(width, height);
      s.stream = s.clap.stream;
    } else {
      s.stream = await navigator.mediaDevices.getUserMedia({ audio, video: { width: width ?? 640, height: height ?? 360, frameRate: 30 } });
    }
    for (const track of s.stream.getTracks()) {
      if (track.kind === "audio" && !audio) continue;
      const tr = s.pc.addTransceiver(track, { direction: "sendonly", streams: [s.stream], ...(track.kind === "video" && encodings && { sendEncodings: encodings }) });
      s[track.kind] = tr;
      if (track.kind === "video") prefer(tr, codec, "video");
    }
    return signal(s, url, token);
  };

  // Offers the dependency descriptor, which browsers leave out by themselves.
  const describe = (transceiver) => {
    const all = transceiver.getHeaderExtensionsToNegotiate();
    for (const e of all) if (e.uri.includes("dependency-descriptor")) e.direction = "sendrecv";
    transceiver.setHeaderExtensionsToNegotiate(all);
  };

  T.watch = async ({ url, token, wait = false, only = "", relay = false, described = false }) => {
    if (relay) await T.useServers(url, token);
    const s = { pc: new RTCPeerConnection({ ...T.config, iceTransportPolicy: relay ? "relay" : "all" }), media: new MediaStream(), only };
    talk(s);
    const picture = s.pc.addTransceiver("video", { direction: "recvonly" });
    if (described) describe(picture);
    s.pc.addTransceiver("audio", { direction: "recvonly" });
    const video = document.createElement("video");
    video.autoplay = true;
    video.muted = false;
    video.playsInline = true;
    video.srcObject = s.media;
    document.body.append(video);
    s.element = video;
    s.pc.addEventListener("track", (e) => {
      s.media.addTrack(e.track);
      if (e.track.kind === "video" && "requestVideoFrameCallback" in video) {
        video.requestVideoFrameCallback(() => (s.firstFrame = performance.now() - s.started));
      }
      video.play().catch(() => {});
    });
    return signal(s, url, token, wait ? { Prefer: "wait" } : {});
  };

  T.stats = async (id) => {
    const s = T.sessions[id];
    const out = { state: s.pc.connectionState, firstFrame: s.firstFrame ?? 0, width: s.element?.videoWidth ?? 0, video: {}, audio: {}, codec: {} };
    const report = await s.pc.getStats();
    for (const r of report.values()) {
      if (r.type === "inbound-rtp" || r.type === "outbound-rtp") {
        const { framesDecoded, framesReceived, framesDropped, framesSent, freezeCount, packetsReceived, packetsLost, packetsSent, pliCount, nackCount, totalAudioEnergy, totalSamplesReceived, concealedSamples, frameWidth, frameHeight, keyFramesEncoded, keyFramesDecoded, scalabilityMode, totalFreezesDuration } = r;
        out[r.kind] = { framesDecoded, framesReceived, framesDropped, framesSent, freezeCount, packetsReceived, packetsLost, packetsSent, pliCount, nackCount, totalAudioEnergy, totalSamplesReceived, concealedSamples, frameWidth, frameHeight, keyFramesEncoded, keyFramesDecoded, scalabilityMode, totalFreezesDuration };
        out.codec[r.kind] = report.get(r.codecId)?.mimeType;
      }
    }
    return out;
  };

  // Asks for a layer (WHEP's extension); {} leaves the choice to the gateway.
  T.choose = async ({ id, wish }) => {
    const s = T.sessions[id];
    const r = await fetch(`${s.location}/layer`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${s.token}` },
      body: JSON.stringify(wish),
    });
    return r.status;
  };

  // The ICE servers that the endpoint names (RFC 9725, section 4.6), for the
  // peer connections made from now on.
  T.useServers = async (url, token) => {
    const r = await fetch(url, { method: "OPTIONS", headers: { Authorization: `Bearer ${token}` } });
    const links = (r.headers.get("Link") ?? "").matchAll(/<((?:stun|turn)s?:[^>]+)>([^<]*)/g);
    const iceServers = [...links].map(([, urls, rest]) => ({
      urls,
      username: /username="([^"]*)"/.exec(rest)?.[1],
      credential: /credential="([^"]*)"/.exec(rest)?.[1],
    }));
    T.config = { iceServers };
    return iceServers.map((s) => s.urls);
  };

  // The way that media of a session go.
  T.path = async (id) => {
    const report = await T.sessions[id].pc.getStats();
    for (const r of report.values()) {
      if (r.type !== "transport" || !r.selectedCandidatePairId) continue;
      const pair = report.get(r.selectedCandidatePairId);
      const [local, remote] = [report.get(pair.localCandidateId), report.get(pair.remoteCandidateId)];
      return { protocol: local.protocol, type: local.candidateType, relay: local.relayProtocol ?? "", remote: remote.address };
    }
    return { protocol: "", type: "", relay: "", remote: "" };
  };

  const open = (ch) => (ch.readyState === "open" ? Promise.resolve() : new Promise((r) => (ch.onopen = r)));

  T.hello = async (id, name, since = 0, key = crypto.randomUUID()) => {
    const s = T.sessions[id];
    await open(s.chat);
    s.chat.send(JSON.stringify({ type: "hello", name, since, key }));
    while (!s.welcome) await new Promise((r) => setTimeout(r, 20));
    return s.welcome;
  };

  T.say = (id, text, ref = crypto.randomUUID()) =>
    new Promise((done) => {
      const s = T.sessions[id];
      s.answers.set(ref, done);
      s.chat.send(JSON.stringify({ type: "say", ref, text }));
    });

  T.said = (id) => T.sessions[id].events.filter((e) => e.type === "say").map((e) => [e.seq, e.from, e.text]);
  T.seqs = (id) => T.sessions[id].events.map((e) => e.seq);

  const hex = (b) => [...new Uint8Array(b)].map((x) => x.toString(16).padStart(2, "0")).join("");

  // Puts a file of noise made from seed; breaks the connection after breakAt bytes.
  T.put = async (id, { file, size, seed, breakAt = 0, wrong = false }) => {
    const s = T.sessions[id];
    await open(s.share);
    const data = new Uint8Array(size);
    for (let i = 0, x = seed; i < size; i++) {
      x = (x * 1103515245 + 12345) & 0x7fffffff;
      data[i] = x >> 16;
    }
    const sha256 = hex(await crypto.subtle.digest("SHA-256", data));
    if (wrong) data[size >> 1] ^= 1;
    return new Promise((done) => {
      let transfer, offset, acked, window, from;
      const push = () => {
        while (transfer && offset < size && offset < acked + window && s.share.bufferedAmount < 4 << 20) {
          const part = data.subarray(offset, Math.min(offset + 65536, size, acked + window));
          const msg = new Uint8Array(8 + part.length);
          new DataView(msg.buffer).setUint32(0, transfer);
          new DataView(msg.buffer).setUint32(4, offset);
          msg.set(part, 8);
          s.share.send(msg);
          offset += part.length;
        }
      };
      s.share.bufferedAmountLowThreshold = 1 << 20;
      s.share.onbufferedamountlow = push;
      s.files.set(file, (m) => {
        if (m.type === "go") {
          ({ transfer, offset, window } = m);
          acked = from = offset;
          push();
        } else if (m.type === "ack") {
          acked = m.offset;
          if (breakAt && acked >= breakAt) {
            s.pc.close();
            return done({ type: "broken", offset: acked });
          }
          push();
        } else done({ ...m, from, sha256 });
      });
      s.share.send(JSON.stringify({ type: "put", id: file, name: `${file}.bin`, size, sha256, media_type: "application/octet-stream" }));
    });
  };

  T.fetch = async (url, token) => {
    const r = await fetch(url, { headers: { Authorization: `Bearer ${token}` } });
    const b = await r.arrayBuffer();
    return { status: r.status, size: b.byteLength, sha256: hex(await crypto.subtle.digest("SHA-256", b)) };
  };

  // A microphone that is unplugged: no packets, no jump in the timestamps.
  T.unplug = (id) => T.sessions[id].audio.sender.replaceTrack(null);
  T.plug = (id) => T.sessions[id].audio.sender.replaceTrack(T.sessions[id].stream.getAudioTracks()[0]);

  T.resize = (id, width, height) => {
    const c = T.sessions[id].clap.canvas;
    c.width = width;
    c.height = height;
  };

  // The network goes away without a word.
  T.drop = (id) => T.sessions[id].pc.close();

  T.end = async (id) => {
    const s = T.sessions[id];
    const r = await fetch(s.location, { method: "DELETE", headers: { Authorization: `Bearer ${s.token}` } });
    s.pc.close();
    s.clap?.stop();
    return r.status;
  };
})();
