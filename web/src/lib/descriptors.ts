// Dependency descriptors (AV1 RTP specification, appendix A) tell a browser how
// the layers of a picture build on each other. Without them Chromium decodes
// nothing of AV1 in several sizes within one stream, and it does not offer to
// take them by itself.

const DESCRIPTOR = 'dependency-descriptor-rtp-header-extension';

/** The part of webrtc-extensions that the DOM's types lack; not all browsers have it. */
interface Negotiable {
  getHeaderExtensionsToNegotiate?(): { uri: string; direction: RTCRtpTransceiverDirection }[];
  setHeaderExtensionsToNegotiate?(
    extensions: { uri: string; direction: RTCRtpTransceiverDirection }[],
  ): void;
}

/** Offers to take dependency descriptors, where the browser knows them. */
export function takeDescriptors(transceiver: RTCRtpTransceiver): void {
  const to = transceiver as Negotiable;
  const extensions = to.getHeaderExtensionsToNegotiate?.() ?? [];
  const descriptor = extensions.find(({ uri }) => uri.endsWith(DESCRIPTOR));
  if (!descriptor || descriptor.direction !== 'stopped') return;
  descriptor.direction = 'sendrecv';
  try {
    to.setHeaderExtensionsToNegotiate?.(extensions);
  } catch {
    // It is watched without.
  }
}
