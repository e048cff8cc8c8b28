/** Whether the browser lets this page use a device. */
export type Allowed = 'granted' | 'prompt' | 'denied' | 'unknown';

/** What this browser can do for a class. */
export interface BrowserFacts {
  /** Browsers give cameras to secure pages only. */
  secure: boolean;
  webrtc: boolean;
  camera: Allowed;
  microphone: Allowed;
  /** Names of the video formats, e.g. H264. */
  sends: string[];
  shows: string[];
}

const FORMATS = ['H264', 'VP8', 'VP9', 'AV1'];

/** Finds out what this browser can do, without asking the person for anything. */
export async function browserFacts(): Promise<BrowserFacts> {
  const webrtc = typeof RTCPeerConnection !== 'undefined';
  return {
    secure: globalThis.isSecureContext,
    webrtc,
    camera: await allowed('camera'),
    microphone: await allowed('microphone'),
    sends: webrtc ? formats(RTCRtpSender.getCapabilities('video')) : [],
    shows: webrtc ? formats(RTCRtpReceiver.getCapabilities('video')) : [],
  };
}

function formats(capabilities: RTCRtpCapabilities | null): string[] {
  const known = new Set(capabilities?.codecs.map(({ mimeType }) => mimeType.toLowerCase()));
  return FORMATS.filter((format) => known.has(`video/${format}`.toLowerCase()));
}

async function allowed(name: string): Promise<Allowed> {
  try {
    return (await navigator.permissions.query({ name: name as PermissionName })).state;
  } catch {
    return 'unknown'; // Not every browser tells.
  }
}
