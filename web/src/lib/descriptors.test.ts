import { describe, expect, it } from 'vitest';
import { takeDescriptors } from './descriptors.ts';

const MID = 'urn:ietf:params:rtp-hdrext:sdes:mid';
const DESCRIPTOR =
  'https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension';

function transceiver(direction: string, fail = false) {
  const all = [
    { uri: MID, direction: 'sendrecv' },
    { uri: DESCRIPTOR, direction },
  ];
  const set: unknown[] = [];
  return {
    set,
    getHeaderExtensionsToNegotiate: () => all.map((e) => ({ ...e })),
    setHeaderExtensionsToNegotiate: (to: unknown) => {
      if (fail) throw new TypeError('no');
      set.push(to);
    },
  };
}

const take = (t: unknown) => takeDescriptors(t as RTCRtpTransceiver);

describe('takeDescriptors', () => {
  it('offers what the browser leaves out', () => {
    const t = transceiver('stopped');
    take(t);
    expect(t.set).toEqual([
      [
        { uri: MID, direction: 'sendrecv' },
        { uri: DESCRIPTOR, direction: 'sendrecv' },
      ],
    ]);
  });

  it('leaves alone what is offered already', () => {
    const t = transceiver('sendrecv');
    take(t);
    expect(t.set).toEqual([]);
  });

  it('does without in browsers that know nothing of it, or refuse', () => {
    take({});
    take(transceiver('stopped', true));
  });
});
