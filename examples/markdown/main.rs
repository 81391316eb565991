//! A plugin that wraps a library, `pulldown-cmark`: what breaks the library ends a process, and not the host.
//!
//! ```text
//! $ cargo run --example markdown
//! architecture.md: How it is cut, 293 bytes of HTML
//! faq.md: Questions, 423 bytes of HTML
//! index.md: Welcome, 276 bytes of HTML
//! notes.md: no title, 167 bytes of HTML
//! 4 pages, 1159 bytes of HTML
//! ```
//!
//! In a terminal a bar shows how far it is. `cargo run --example markdown -- PAGES HTML` renders the files of another
//! directory, and writes what comes out.
//!
//! This one program is the host and, started again with `--plugin`, its plugin.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use futures_util::StreamExt;
use indicatif::ProgressBar;
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};
use rapace::prelude::*;

/// What became of a page.
#[rapace::message]
struct Rendered {
    /// The text of its first heading.
    title: Option<String>,
    html: String,
}

#[rapace::service(name = "demo.Markdown", version = "1.0", provider = "plugin")]
trait Markdown {
    /// Renders pages as they come, and sends each back at once: the caller sees how far it is.
    fn render(&self, pages: Incoming<String>) -> impl Stream<Item = Rendered>;
}

struct Cmark;

impl Markdown for Cmark {
    fn render(&self, pages: Incoming<String>) -> impl Stream<Item = Rendered> {
        // An error is the last item, and means that nobody waits for more.
        pages.filter_map(|page| std::future::ready(page.ok().map(|page| render(&page))))
    }
}

fn render(page: &str) -> Rendered {
    let events = || Parser::new_ext(page, Options::ENABLE_TABLES | Options::ENABLE_TASKLISTS);
    let mut html = String::new();
    html::push_html(&mut html, events());
    Rendered { title: title(events()), html }
}

fn title<'a>(events: impl Iterator<Item = Event<'a>>) -> Option<String> {
    let is_start = |event: &Event<'_>| matches!(event, Event::Start(Tag::Heading { level: HeadingLevel::H1, .. }));
    let mut heading = events.skip_while(|event| !is_start(event));
    heading.next()?;
    let inside = heading.take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))));
    let text = inside.filter_map(|event| match event {
        Event::Text(text) | Event::Code(text) => Some(text.into_string()),
        _ => None,
    });
    Some(text.collect())
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match &args[..] {
        [flag] if flag == "--plugin" => return Ok(rapace::plugin::run(plugin)),
        [] => host(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/markdown/pages")), None)?,
        [pages] => host(Path::new(pages), None)?,
        [pages, html] => host(Path::new(pages), Some(Path::new(html)))?,
        _ => {
            eprintln!("usage: markdown [PAGES [HTML]]");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn plugin() -> Result<(), Box<dyn Error>> {
    let services = Services::new().add(MarkdownServer::new(Cmark));
    let config = Config { registry: services.registry()?, ..Config::new("cmark", "1.0.0") };
    Ok(Plugin::attach(config, "cargo run --example markdown", services)?.serve()?)
}

fn host(directory: &Path, html: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let registry = Services::new().calls::<MarkdownClient>().registry()?;
    let host = PluginHost::builder(Config { registry, ..Config::new("markdown", "1.0.0") }).build()?;
    let plugin = host.load(PluginSpec::new("cmark", std::env::current_exe()?).arg("--plugin"))?;
    let markdown = MarkdownClient::new(&plugin).blocking();

    let files = markdown_files(directory)?;
    let pages = files.iter().map(fs::read_to_string).collect::<Result<Vec<_>, _>>()?;
    if let Some(html) = html {
        fs::create_dir_all(html)?;
    }
    let progress = Progress::new(files.len());
    let (mut count, mut bytes) = (0, 0);
    // What comes back is in the order of the pages. No file is named by the plugin.
    for (file, rendered) in files.iter().zip(markdown.render(pages)?) {
        let Rendered { title, html: text } = rendered?;
        let name = file.file_name().unwrap_or_default();
        (count, bytes) = (count + 1, bytes + text.len());
        let title = title.unwrap_or_else(|| "no title".to_owned()).replace(char::is_control, " ");
        progress.line(&format!("{}: {title}, {} bytes of HTML", name.display(), text.len()));
        if let Some(html) = html {
            fs::write(html.join(name).with_extension("html"), text)?;
        }
    }
    progress.finish();
    if count != files.len() {
        return Err(format!("the plugin has rendered {count} pages of {}", files.len()).into());
    }
    println!("{count} pages, {bytes} bytes of HTML");
    host.shutdown();
    Ok(())
}

/// In the order of their names.
fn markdown_files(directory: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let entries = fs::read_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    files.sort();
    Ok(files)
}

/// How far it is: a bar below the lines if somebody looks, and else the lines alone.
enum Progress {
    Bar(ProgressBar),
    Lines,
}

impl Progress {
    fn new(pages: usize) -> Self {
        if std::io::stderr().is_terminal() { Self::Bar(ProgressBar::new(pages as u64)) } else { Self::Lines }
    }

    fn line(&self, line: &str) {
        match self {
            Self::Bar(bar) => {
                bar.suspend(|| println!("{line}"));
                bar.inc(1);
            }
            Self::Lines => println!("{line}"),
        }
    }

    fn finish(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
