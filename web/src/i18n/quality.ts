// What is said of how good a picture is: of the one that is sent, and of the one that comes.

const titled = (title: string, hint: string) => ({ title, hint });

export const qualityEn = {
  /** By UplinkState. */
  uplink: {
    measuring: () => titled('Measuring the upload', 'That takes some seconds.'),
    all: () =>
      titled(
        'Your uplink carries all qualities',
        'Everybody gets the picture that their network can take.',
      ),
    fewer: (lines: number) =>
      titled(
        `Your uplink carries up to ${lines}p`,
        'The largest picture waits until there is room for it. Sound goes first.',
      ),
    small: (lines: number) =>
      titled(
        'Only the small picture goes out',
        `Your uplink is slow: everybody gets ${lines}p. Sound goes first. A cable in the place of Wi-Fi often helps.`,
      ),
    good: (lines: number) => titled(lines ? 'Upload good' : 'Upload good, sound only', ''),
    lowered: (lines: number) =>
      titled(
        `Weak uplink: lowered to ${lines}p`,
        'Sound goes first. A cable in the place of Wi-Fi often helps.',
      ),
    lossy: () =>
      titled(
        'Weak uplink: parts are lost',
        'Picture and sound may break up for everybody. A cable in the place of Wi-Fi often helps.',
      ),
    busy: () =>
      titled(
        'Your computer is busy',
        'It cannot encode the whole picture in time. Close other programs, or choose a smaller picture for the next class.',
      ),
  },
  sent: 'Goes out',
  waits: 'waits',
  line: (lines: number, rate: number, bitrate: string) => `${lines}p · ${rate}/s · ${bitrate}`,
  available: 'Carries about',
  lost: 'Lost on the way',
  percent: (share: string) => `${share} %`,
  several: 'Several qualities, for students with slow networks',
  severalOn: 'The camera goes out large and small at once; each student gets what fits.',
  severalOff: 'One picture for all: who has a slow network may see it stop.',
  scarce: {
    computer: 'Off by itself: this computer may be too small for it.',
    network: 'Off by itself: this network may be too slow for it.',
  },
  quality: 'Quality',
  choices: { auto: 'Auto', high: 'High', low: 'Low' },
  withLines: (choice: string, lines: number) => `${choice} (${lines}p)`,
  slow: 'Your network is slow: smaller picture, sound stays',
  why: {
    auto: 'As large as your network can take.',
    slow: 'Your network is slow: the picture is smaller, the sound stays.',
    sender: 'The teacher’s uplink carries no larger picture at the moment.',
    high: 'The largest there is. It may stop where your network is too slow.',
    low: 'The smallest there is: it needs the least data.',
    saves: 'The smallest there is, because your browser is set to save data.',
  },
};

export const qualityZh: typeof qualityEn = {
  uplink: {
    measuring: () => titled('正在测量上传', '需要几秒钟。'),
    all: () => titled('上行可发送全部画质', '每个人都会得到适合其网络的画面。'),
    fewer: (lines) =>
      titled(`上行最高可发送 ${lines}p`, '最大的画面暂停发送，直到上行足够。声音优先。'),
    small: (lines) =>
      titled(
        '只发送小画面',
        `你的上行较慢：所有人看到 ${lines}p。声音优先。改用网线通常会有帮助。`,
      ),
    good: (lines) => titled(lines ? '上传良好' : '上传良好，只有声音', ''),
    lowered: (lines) => titled(`上行较弱：已降到 ${lines}p`, '声音优先。改用网线通常会有帮助。'),
    lossy: () =>
      titled('上行较弱：有部分丢失', '所有人的画面和声音都可能中断。改用网线通常会有帮助。'),
    busy: () =>
      titled('你的电脑很忙', '来不及编码完整的画面。请关闭其他程序，或在下节课选择较小的画面。'),
  },
  sent: '正在发送',
  waits: '暂停',
  line: (lines, rate, bitrate) => `${lines}p · ${rate} 帧/秒 · ${bitrate}`,
  available: '上行约',
  lost: '途中丢失',
  percent: (share) => `${share}%`,
  several: '多种画质，照顾网络较慢的学生',
  severalOn: '摄像头同时发送大小画面，每个学生得到适合的一种。',
  severalOff: '所有人看同一个画面：网络慢的人可能会卡住。',
  scarce: {
    computer: '已自动关闭：这台电脑可能不够快。',
    network: '已自动关闭：这个网络可能不够快。',
  },
  quality: '画质',
  choices: { auto: '自动', high: '高', low: '低' },
  withLines: (choice, lines) => `${choice}（${lines}p）`,
  slow: '网络较慢：画面缩小，声音不变',
  why: {
    auto: '你的网络所能承受的最大画面。',
    slow: '你的网络较慢：画面缩小，声音不变。',
    sender: '老师的上行目前无法发送更大的画面。',
    high: '现有的最大画面。如果网络太慢，可能会卡住。',
    low: '现有的最小画面，流量最少。',
    saves: '现有的最小画面，因为浏览器设置为节省流量。',
  },
};
