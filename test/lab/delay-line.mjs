/**
 * delay-line.mjs TAP_A TAP_B DELAY_MS: carries Ethernet frames between two tap devices of the network it runs in, late. What `tc netem
 * delay` does, for kernels that are built without it. Frames of one direction keep their order. The kernel cuts large segments to
 * the device's size before they come here, so this takes about 100 MB/s at most: for tests of what slowness does, not of speed.
 */
import { close, openSync, read, writeSync } from "node:fs";
import koffi from "koffi";

const libc = koffi.load(null);
const ioctl = libc.func("int ioctl(int fd, unsigned long request, void *argument)");
const setInterface = 0x400454ca; // TUNSETIFF of linux/if_tun.h
const tapWithoutHeader = 0x0002 | 0x1000; // IFF_TAP | IFF_NO_PI
const frameBytesMax = 65_600;
const framesMax = 50_000; // beyond it frames are dropped, as a full queue does

function openTap(name) {
  const fd = openSync("/dev/net/tun", "r+");
  const request = Buffer.alloc(40); // struct ifreq: 16 bytes of name, then the flags
  request.write(name, 0, 15, "latin1");
  request.writeUInt16LE(tapWithoutHeader, 16);
  if (ioctl(fd, setInterface, request) !== 0) throw new Error(`Cannot open tap device ${name}`);
  return fd;
}

/** Reads frames from `from` and writes each to `to` when it is due. */
function carry(from, to, delayMs) {
  let frames = [];
  let first = 0;
  let armed = false;
  const arm = (ms) => {
    armed = true;
    setTimeout(letOut, Math.max(1, ms));
  };
  const letOut = () => {
    armed = false;
    const now = performance.now();
    while (first < frames.length && frames[first].due <= now) {
      try {
        writeSync(to, frames[first].bytes);
      } catch {
        // the device is down: the frame is lost
      }
      frames[first++] = undefined;
    }
    if (first > 1_000 && first * 2 > frames.length) {
      frames = frames.slice(first);
      first = 0;
    }
    if (first < frames.length) arm(frames[first].due - performance.now());
  };
  const buffer = Buffer.allocUnsafe(frameBytesMax);
  const takeIn = () =>
    read(from, buffer, 0, frameBytesMax, null, (error, bytes) => {
      if (error) return close(from);
      if (frames.length - first < framesMax)
        frames.push({ due: performance.now() + delayMs, bytes: Buffer.from(buffer.subarray(0, bytes)) });
      if (!armed) arm(delayMs);
      takeIn();
    });
  takeIn();
}

const [tapA, tapB, delayMs] = process.argv.slice(2);
const [a, b] = [openTap(tapA), openTap(tapB)];
carry(a, b, Number(delayMs));
carry(b, a, Number(delayMs));
console.log("ready");
