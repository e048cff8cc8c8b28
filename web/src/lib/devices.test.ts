import { describe, expect, it, vi } from 'vitest';
import { Devices, type MediaSource, deviceProblem } from './devices.ts';

function media(over: Partial<MediaSource> = {}): MediaSource {
  return {
    addEventListener: vi.fn(),
    enumerateDevices: () =>
      Promise.resolve([
        { kind: 'videoinput', deviceId: 'c1', label: 'BRIO' },
        { kind: 'videoinput', deviceId: '', label: '' },
        { kind: 'audioinput', deviceId: 'm1', label: 'Jabra' },
        { kind: 'audiooutput', deviceId: 'o1', label: 'Loud' },
      ] as MediaDeviceInfo[]),
    getUserMedia: () => Promise.reject(new DOMException('', 'NotAllowedError')),
    ...over,
  };
}

describe('Devices', () => {
  it('lists cameras and microphones that can be chosen', async () => {
    expect(await new Devices(media()).refresh()).toEqual({
      cameras: [{ id: 'c1', label: 'BRIO' }],
      microphones: [{ id: 'm1', label: 'Jabra' }],
    });
  });

  it('says why a device cannot be had', async () => {
    const devices = new Devices(media());
    await expect(devices.camera('', 'auto')).rejects.toMatchObject({ code: 'camera_blocked' });
    await expect(devices.screen()).rejects.toMatchObject({ code: 'screen_unsupported' });
    await expect(new Devices(undefined).microphone('')).rejects.toMatchObject({
      code: 'insecure_page',
    });
  });

  it('asks for exactly the chosen device and size', async () => {
    const getUserMedia = vi.fn(() =>
      Promise.resolve({ getTracks: () => [{ kind: 'video' }] } as unknown as MediaStream),
    );
    await new Devices(media({ getUserMedia })).camera('c1', '720');
    expect(getUserMedia).toHaveBeenCalledWith({
      video: expect.objectContaining({
        deviceId: { exact: 'c1' },
        height: { ideal: 720, max: 720 },
      }) as unknown,
    });
  });
});

describe('deviceProblem', () => {
  it.each([
    ['NotFoundError', 'camera_missing'],
    ['OverconstrainedError', 'camera_missing'],
    ['NotReadableError', 'camera_busy'],
    ['WhateverError', 'camera_failed'],
  ])('%s is %s', (name, code) =>
    expect(deviceProblem(new DOMException('', name), 'camera').code).toBe(code),
  );
});
