//! FHIRPath text as tokens.
//!
//! Spec: <http://hl7.org/fhirpath/N1/#lexical-elements>

use super::{ParseError, ParseErrorKind};

/// A token with the byte offset it starts at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: TokenKind,
    pub at: usize,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A plain identifier or keyword.
    Word(Box<str>),
    /// An identifier in backticks, which is never a keyword.
    Delimited(Box<str>),
    String(Box<str>),
    Number(Box<str>),
    Date(Box<str>),
    DateTime(Box<str>),
    Time(Box<str>),
    /// `$this` and like, without `$`.
    Special(Box<str>),
    /// An operator or bracket.
    Symbol(&'static str),
    End,
}

/// Longest first, so that `<=` is not read as `<`.
const SYMBOLS: &[&str] = &[
    "<=", ">=", "!=", "!~", ".", ",", "(", ")", "[", "]", "{", "}", "+", "-", "*", "/", "&", "|",
    "<", ">", "=", "~", "%",
];

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, ParseError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_space()?;
        let at = lexer.at;
        let kind = lexer.token()?;
        let is_end = kind == TokenKind::End;
        tokens.push(Token { kind, at });
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn fail<T>(&self, kind: ParseErrorKind) -> Result<T, ParseError> {
        Err(ParseError { kind, at: self.at })
    }

    /// White space and comments.
    fn skip_space(&mut self) -> Result<(), ParseError> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if let Some(comment) = trimmed.strip_prefix("/*") {
                match comment.find("*/") {
                    Some(end) => self.at += end + 4,
                    None => return self.fail(ParseErrorKind::Unterminated),
                }
            } else if trimmed.starts_with("//") {
                self.at += trimmed.find('\n').unwrap_or(trimmed.len());
            } else {
                return Ok(());
            }
        }
    }

    /// Takes as many characters as `accepts`.
    fn take_while(&mut self, accepts: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c| !accepts(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or("")
    }

    fn word(&mut self) -> &'t str {
        self.take_while(|c| c.is_ascii_alphanumeric() || c == '_')
    }

    fn token(&mut self) -> Result<TokenKind, ParseError> {
        let Some(first) = self.rest().chars().next() else {
            return Ok(TokenKind::End);
        };
        match first {
            'a'..='z' | 'A'..='Z' | '_' => Ok(TokenKind::Word(self.word().into())),
            '0'..='9' => Ok(TokenKind::Number(self.number().into())),
            '\'' => Ok(TokenKind::String(self.quoted('\'')?)),
            '`' => Ok(TokenKind::Delimited(self.quoted('`')?)),
            '@' => self.moment(),
            '$' => {
                self.at += 1;
                Ok(TokenKind::Special(self.word().into()))
            }
            _ => match SYMBOLS.iter().find(|s| self.rest().starts_with(**s)) {
                Some(symbol) => {
                    self.at += symbol.len();
                    Ok(TokenKind::Symbol(symbol))
                }
                None => self.fail(ParseErrorKind::UnexpectedCharacter),
            },
        }
    }

    /// `5` or `5.0`; the point of `5.toString()` belongs to the invocation.
    fn number(&mut self) -> &'t str {
        let start = self.at;
        self.take_while(|c| c.is_ascii_digit());
        let has_fraction = self
            .rest()
            .strip_prefix('.')
            .is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit()));
        if has_fraction {
            self.at += 1;
            self.take_while(|c| c.is_ascii_digit());
        }
        self.text.get(start..self.at).unwrap_or("")
    }

    /// A date, dateTime or time behind `@`.
    fn moment(&mut self) -> Result<TokenKind, ParseError> {
        self.at += 1;
        let is_time_part = |c: char| c.is_ascii_digit() || c == ':';
        if self.rest().starts_with('T') {
            self.at += 1;
            let start = self.at;
            self.take_while(is_time_part);
            self.fraction();
            return Ok(TokenKind::Time(
                self.text.get(start..self.at).unwrap_or("").into(),
            ));
        }
        let start = self.at;
        if self
            .take_while(|c| c.is_ascii_digit() || c == '-')
            .is_empty()
        {
            return self.fail(ParseErrorKind::UnexpectedCharacter);
        }
        if !self.rest().starts_with('T') {
            return Ok(TokenKind::Date(
                self.text.get(start..self.at).unwrap_or("").into(),
            ));
        }
        self.at += 1;
        self.take_while(is_time_part);
        self.fraction();
        if self.rest().starts_with('Z') {
            self.at += 1;
        } else if self.rest().starts_with(['+', '-']) {
            self.at += 1;
            self.take_while(is_time_part);
        }
        Ok(TokenKind::DateTime(
            self.text.get(start..self.at).unwrap_or("").into(),
        ))
    }

    fn fraction(&mut self) {
        let is_fraction = self
            .rest()
            .strip_prefix('.')
            .is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit()));
        if is_fraction {
            self.at += 1;
            self.take_while(|c| c.is_ascii_digit());
        }
    }

    /// What stands between two quotes, unescaped.
    fn quoted(&mut self, quote: char) -> Result<Box<str>, ParseError> {
        let start = self.at;
        self.at += 1;
        let mut content = String::new();
        while let Some(c) = self.rest().chars().next() {
            self.at += c.len_utf8();
            if c == quote {
                return Ok(content.into());
            }
            if c != '\\' {
                content.push(c);
                continue;
            }
            content.push(self.escape()?);
        }
        self.at = start;
        self.fail(ParseErrorKind::Unterminated)
    }

    fn escape(&mut self) -> Result<char, ParseError> {
        let Some(mark) = self.rest().chars().next() else {
            return self.fail(ParseErrorKind::Unterminated);
        };
        self.at += mark.len_utf8();
        Ok(match mark {
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let code = self
                    .rest()
                    .get(..4)
                    .and_then(|h| u32::from_str_radix(h, 16).ok());
                match code.and_then(char::from_u32) {
                    Some(c) => {
                        self.at += 4;
                        c
                    }
                    None => return self.fail(ParseErrorKind::BadEscape),
                }
            }
            '\'' | '"' | '`' | '\\' | '/' => mark,
            _ => return self.fail(ParseErrorKind::BadEscape),
        })
    }
}
