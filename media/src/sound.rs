//! Sound out of a file.

use std::io::{Cursor, ErrorKind};

use fewbit_engine::input::audio::{AudioError, MAX_CHANNELS, MAX_SECONDS, Resampler, mix};
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::{Error as DecodeError, Result as DecodeResult};
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::default::codecs::{FlacDecoder, MpaDecoder, PcmDecoder, VorbisDecoder};
use symphonia::default::formats::{FlacReader, MpaReader, OggReader, WavReader};

use crate::error::{MediaError, begins, words};

/// The most samples given: an hour at 48 kHz, 660 MiB.
const MAX_SAMPLES: usize = MAX_SECONDS * 48_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SoundFormat {
    Wav,
    Flac,
    Ogg,
    Mp3,
}

impl SoundFormat {
    /// By a file's first bytes, those of an ID3v2 tag left out.
    pub fn guess(bytes: &[u8]) -> Option<SoundFormat> {
        match bytes {
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'A',
                b'V',
                b'E',
                ..,
            ] => Some(SoundFormat::Wav),
            [b'f', b'L', b'a', b'C', ..] => Some(SoundFormat::Flac),
            [b'O', b'g', b'g', b'S', ..] => Some(SoundFormat::Ogg),
            // A frame's sync, version and layer III.
            [0xff, 0xfa | 0xfb | 0xf2 | 0xf3 | 0xe2 | 0xe3, ..] => Some(SoundFormat::Mp3),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            SoundFormat::Wav => "WAV",
            SoundFormat::Flac => "FLAC",
            SoundFormat::Ogg => "Ogg",
            SoundFormat::Mp3 => "MP3",
        }
    }
}

/// The sound in a WAV, FLAC, MP3 or Ogg Vorbis file: the mean of its channels at `rate` hertz.
///
/// A damaged stretch is left out, as players do, and a file that ends early gives what there is.
///
/// # Errors
/// Another format or codec, no samples, over [`MAX_SECONDS`] of them, a sampling rate or number of channels beyond the
/// limits of [`fewbit_engine::input::audio`], or a file that its decoder refuses.
pub fn decode_audio(bytes: &[u8], rate: u32) -> Result<Vec<f32>, MediaError> {
    // Checks the rate asked for, whatever the file's.
    Resampler::new(rate, rate).map_err(MediaError::Asked)?;
    let bytes = without_tag(bytes);
    let format = SoundFormat::guess(bytes).ok_or_else(|| MediaError::UnknownFormat {
        known: "WAV, FLAC, MP3 or Ogg Vorbis",
        begins: begins(bytes),
    })?;
    let refused = |error| refused(format, error);
    let source = MediaSourceStream::new(
        Box::new(Cursor::new(bytes)),
        MediaSourceStreamOptions::default(),
    );
    if format == SoundFormat::Wav {
        check_wav(bytes)?;
    }
    let mut reader = open(format, source).map_err(refused)?;
    let Some((track, mut decoder, mut stream)) = start(format, &*reader, bytes, rate)? else {
        return Err(MediaError::Unsupported {
            format: format.name(),
            what: "a file without a track of sound".into(),
        });
    };
    let mut last_error = None;
    loop {
        let packet = match reader.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            // Cut short: what was there is the recording.
            Err(DecodeError::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => break,
            // The next of several recordings chained in an Ogg file; as browsers, the first is taken.
            Err(DecodeError::ResetRequired) => break,
            Err(error) => {
                last_error = Some(error);
                break;
            }
        };
        if packet.track_id != track {
            continue;
        }
        match decoder.decode(&packet) {
            Ok(buffer) => {
                let mut interleaved = std::mem::take(&mut stream.interleaved);
                buffer.copy_to_vec_interleaved(&mut interleaved);
                let spec = (buffer.spec().rate(), buffer.spec().channels().count());
                stream.interleaved = interleaved;
                stream.take(spec)?;
            }
            Err(error @ (DecodeError::DecodeError(_) | DecodeError::IoError(_))) => {
                last_error = Some(error);
            }
            Err(error) => return Err(refused(error)),
        }
    }
    match (stream.finish()?, last_error) {
        (samples, _) if !samples.is_empty() => Ok(samples),
        (_, Some(error)) => Err(refused(error)),
        (_, None) => Err(audio(format, AudioError::Empty)),
    }
}

fn open(
    format: SoundFormat,
    source: MediaSourceStream<'_>,
) -> DecodeResult<Box<dyn FormatReader + '_>> {
    let options = FormatOptions::default();
    Ok(match format {
        SoundFormat::Wav => Box::new(WavReader::try_new(source, options)?),
        SoundFormat::Flac => Box::new(FlacReader::try_new(source, options)?),
        SoundFormat::Ogg => Box::new(OggReader::try_new(source, options)?),
        SoundFormat::Mp3 => Box::new(MpaReader::try_new(source, options)?),
    })
}

type Started = (u32, Box<dyn AudioDecoder>, Stream);

/// The track to decode, its decoder, and where its samples go; nothing if there is none.
fn start(
    format: SoundFormat,
    reader: &dyn FormatReader,
    bytes: &[u8],
    rate: u32,
) -> Result<Option<Started>, MediaError> {
    let Some(track) = reader.default_track(TrackType::Audio) else {
        return Ok(None);
    };
    let Some(params) = track
        .codec_params
        .as_ref()
        .and_then(|params| params.audio())
    else {
        return Ok(None);
    };
    if let Some(channels) = &params.channels {
        check_channels(format, channels.count())?;
    }
    if let (Some(frames), Some(from)) = (track.num_frames, params.sample_rate) {
        // What streams to a pipe says it is endless: a frame has a byte at least.
        let frames = match format {
            SoundFormat::Wav => frames.min(bytes.len() as u64),
            _ => frames,
        };
        check_duration(format, "length in the header", frames, from)?;
    }
    let mut codecs = CodecRegistry::new();
    codecs.register_audio_decoder::<PcmDecoder>();
    codecs.register_audio_decoder::<FlacDecoder>();
    codecs.register_audio_decoder::<VorbisDecoder>();
    codecs.register_audio_decoder::<MpaDecoder>();
    let decoder = codecs
        .make_audio_decoder(params, &AudioDecoderOptions::default())
        .map_err(|error| refused(format, error))?;
    let stream = Stream {
        format,
        to: rate,
        resampler: None,
        frames: 0,
        interleaved: Vec::new(),
        mono: Vec::new(),
        out: Vec::new(),
    };
    Ok(Some((track.id, decoder, stream)))
}

/// Samples on their way: mixed and resampled as they come, so that only what is given is kept.
struct Stream {
    format: SoundFormat,
    to: u32,
    /// There is one, with the file's rate, from the first samples on.
    resampler: Option<(u32, Resampler)>,
    frames: u64,
    /// Just decoded.
    interleaved: Vec<f32>,
    mono: Vec<f32>,
    out: Vec<f32>,
}

impl Stream {
    /// Takes what is in `interleaved`.
    fn take(&mut self, (rate, channels): (u32, usize)) -> Result<(), MediaError> {
        let format = self.format;
        check_channels(format, channels)?;
        if self.resampler.is_none() {
            let resampler = Resampler::new(rate, self.to).map_err(|error| audio(format, error))?;
            self.resampler = Some((rate, resampler));
        }
        let Some((from, resampler)) = &mut self.resampler else {
            return Ok(());
        };
        if *from != rate {
            return Err(MediaError::RateChanges {
                format: format.name(),
                from: *from,
                to: rate,
            });
        }
        self.mono.clear();
        mix(&self.interleaved, channels, &mut self.mono).map_err(|error| audio(format, error))?;
        self.frames += self.mono.len() as u64;
        check_duration(format, "sound", self.frames, rate)?;
        resampler.push(&self.mono, &mut self.out);
        if self.out.len() > MAX_SAMPLES {
            return Err(audio(
                format,
                AudioError::TooLong {
                    samples: self.out.len(),
                    limit: MAX_SAMPLES,
                    seconds: MAX_SAMPLES / self.to as usize,
                },
            ));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<f32>, MediaError> {
        if let Some((_, resampler)) = self.resampler {
            resampler.finish(&mut self.out);
        }
        Ok(self.out)
    }
}

/// Channels of a WAV, before its reader multiplies with them in 16 bits.
fn check_wav(bytes: &[u8]) -> Result<(), MediaError> {
    let mut chunks = &bytes[12..];
    while let [i, d, e, n, a, b, c, l, rest @ ..] = chunks {
        let length = u32::from_le_bytes([*a, *b, *c, *l]) as usize;
        match &[*i, *d, *e, *n] {
            b"fmt " => {
                if let [_, _, low, high, ..] = rest {
                    let channels = u16::from_le_bytes([*low, *high]);
                    check_channels(SoundFormat::Wav, usize::from(channels))?;
                }
            }
            b"data" => break,
            _ => {}
        }
        // Chunks begin at even places.
        let next = length.saturating_add(length & 1);
        chunks = &rest[rest.len().min(next)..];
    }
    Ok(())
}

fn check_channels(format: SoundFormat, channels: usize) -> Result<(), MediaError> {
    if channels == 0 || channels > MAX_CHANNELS {
        let limit = MAX_CHANNELS;
        return Err(audio(format, AudioError::Channels { channels, limit }));
    }
    Ok(())
}

fn check_duration(
    format: SoundFormat,
    field: &'static str,
    frames: u64,
    rate: u32,
) -> Result<(), MediaError> {
    if frames > MAX_SECONDS as u64 * u64::from(rate) {
        return Err(MediaError::Duration {
            format: format.name(),
            field,
            seconds: frames as f64 / f64::from(rate.max(1)),
            limit: MAX_SECONDS,
        });
    }
    Ok(())
}

/// Without ID3v2 tags in front (<https://id3.org/id3v2.4.0-structure>): 10 bytes, the length in four times 7 bits.
fn without_tag(mut bytes: &[u8]) -> &[u8] {
    while let [b'I', b'D', b'3', _, _, flags, a, b, c, d, rest @ ..] = bytes {
        let length = [a, b, c, d]
            .iter()
            .fold(0, |length, &&bits| length << 7 | usize::from(bits & 0x7f));
        let footer = if flags & 0x10 != 0 { 10 } else { 0 };
        bytes = &rest[rest.len().min(length + footer)..];
    }
    bytes
}

fn audio(format: SoundFormat, error: AudioError) -> MediaError {
    MediaError::Audio {
        format: format.name(),
        error,
    }
}

fn refused(format: SoundFormat, error: DecodeError) -> MediaError {
    let name = format.name();
    match error {
        DecodeError::Unsupported(what) => MediaError::Unsupported {
            format: name,
            what: what.to_owned(),
        },
        error => MediaError::Corrupt {
            format: name,
            reason: words(error),
        },
    }
}
