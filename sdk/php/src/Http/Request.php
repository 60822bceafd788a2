<?php

declare(strict_types=1);

namespace Edge\Http;

use Edge\Exception\ProtocolException;
use Edge\Worker as Process;

/**
 * A request. Everything in it is read-only, and worked out from the server's message when it is first looked at: an
 * application pays for what it uses.
 */
final class Request
{
    /** GET, POST, … as the client sent it. */
    public readonly string $method;

    /** The absolute URI: scheme, host, path and query. */
    public readonly string $uri;

    /** The path of the URI as it was sent, beginning with a slash; percent signs are not decoded. */
    public readonly string $path;

    /** The query without its question mark. */
    public readonly string $queryString;

    /** The host of the URI, with the port if it has one. */
    public readonly string $host;

    /** HTTP/1.0, HTTP/1.1, HTTP/2.0 or HTTP/3.0. */
    public readonly string $protocol;

    /** The IP address of the client, without port. */
    public readonly string $remoteAddr;

    /** @var array<mixed> The query as PHP parses it. */
    public readonly array $query;

    /** @var array<string, list<string>> Headers by name, written Like-This. The host is in $host. See header(). */
    public readonly array $headers;

    /**
     * @var array<mixed> Cookies by name, decoded. By PHP's rules, as in $_COOKIE; where the server speaks protobuf, by RoadRunner's,
     *                   whose cookies are all strings.
     */
    public readonly array $cookies;

    /** @var array<mixed> The fields of a form, multipart or urlencoded, as a tree: a[b][]=1 is ['a' => ['b' => ['1']]]. */
    public readonly array $form;

    /** @var array<mixed> The files of a form: a tree with UploadedFile as leaves. */
    public readonly array $files;

    /** @var array<string, list<string>> What middleware of the server attached to the request. See attribute(). */
    public readonly array $attributes;

    /** The body, whole. One that the server spooled to a file is read into memory here: see bodyStream(). Empty for forms. */
    public readonly string $body;

    /** The file of a large body that the server spooled, or null. It is removed after the response. */
    public readonly ?string $bodyFile;

    /** The methods whose form is parsed. PHP does so for POST, and frameworks for those that change something. */
    private const WITH_FORM = ['POST' => 1, 'PUT' => 1, 'PATCH' => 1, 'DELETE' => 1, 'QUERY' => 1];

    private const BODY_FILE = 'edge.body_file';

    /** The properties above. */
    private const LAZY = [
        'method' => 1, 'uri' => 1, 'path' => 1, 'queryString' => 1, 'host' => 1, 'protocol' => 1, 'remoteAddr' => 1, 'query' => 1,
        'headers' => 1, 'cookies' => 1, 'form' => 1, 'files' => 1, 'attributes' => 1, 'body' => 1, 'bodyFile' => 1,
    ];

    /** A request of which nothing was looked at yet; every other is a copy of it. */
    private static ?self $blank = null;

    private string $context = '';
    private string $payload = '';

    /** @var array{remoteAddr: string, protocol: string, method: string, uri: string, query: string, uploads: string, parsed: bool}|null */
    private ?array $fields = null;

    /**
     * The server's message when it came in PHP's own serialization: method, scheme, protocol, remoteAddr, query, path, host, headers,
     * attributes, form (what of it the server has parsed), uploads, nothing, and body file. Headers and attributes are serialized once
     * more.
     *
     * @var list<string>|null
     */
    private ?array $native = null;

    /** What of a form the server has parsed: it is multipart, and came apart into fields and a list of files. */
    private const FORM_FIELDS = '2';

    private const NO_CLASSES = ['allowed_classes' => false];

    private function __construct()
    {
        // Properties that were unset ask __get() when they are read; it sets them for good.
        unset(
            $this->method,
            $this->uri,
            $this->path,
            $this->queryString,
            $this->host,
            $this->protocol,
            $this->remoteAddr,
            $this->query,
            $this->headers,
            $this->cookies,
            $this->form,
            $this->files,
            $this->attributes,
            $this->body,
            $this->bodyFile,
        );
    }

    /** @internal Makes a request of the server's message and the body that came with it. */
    public static function fromMessage(string $context, string $body): self
    {
        $request = clone self::$blank ??= new self();
        $request->context = $context;
        $request->payload = $body;

        return $request;
    }

    /** @internal Makes a request of the task at hand. */
    public static function ofTask(Process $process): self
    {
        if (!$process->native) {
            return self::fromMessage($process->context, $process->body);
        }
        $native = \unserialize($process->context, self::NO_CLASSES);
        if (!\is_array($native) || \count($native) !== 13) {
            throw new ProtocolException('the context of the request is not the list that was agreed on');
        }
        $request = clone self::$blank ??= new self();
        $request->native = $native;
        $request->payload = $process->body;

        return $request;
    }

    /** The value of a header, whatever the case of its name; several are joined by commas. */
    public function header(string $name, string $default = ''): string
    {
        $values = $this->headers[$name] ?? $this->headers[\ucwords(\strtolower($name), '-')] ?? null;

        return $values === null ? $default : \implode(', ', $values);
    }

    /** The first value of an attribute. */
    public function attribute(string $name, string $default = ''): string
    {
        return $this->attributes[$name][0] ?? $default;
    }

    /**
     * The body for reading in pieces, which costs no memory when the server spooled it.
     *
     * @return resource
     */
    public function bodyStream()
    {
        if ($this->bodyFile !== null) {
            $stream = @\fopen($this->bodyFile, 'rb');
            if ($stream === false) {
                throw new \RuntimeException("cannot open the body in $this->bodyFile");
            }

            return $stream;
        }
        $stream = \fopen('php://memory', 'r+b');
        \fwrite($stream, $this->body);
        \rewind($stream);

        return $stream;
    }

    public function __get(string $name): mixed
    {
        if (null !== $native = $this->native) {
            switch ($name) {
                case 'path':
                    return $this->path = $native[5] === '' ? '/' : $native[5];
                case 'method':
                    return $this->method = $native[0];
                case 'queryString':
                    return $this->queryString = $native[4];
                case 'host':
                    return $this->host = $native[6];
                case 'uri':
                    return $this->uri = "$native[1]://$native[6]$native[5]" . ($native[4] === '' ? '' : "?$native[4]");
                case 'protocol':
                    return $this->protocol = $native[2];
                case 'remoteAddr':
                    return $this->remoteAddr = $native[3];
                case 'headers':
                    return $this->headers = self::map($native[7]);
                case 'attributes':
                    return $this->attributes = self::map($native[8]);
                case 'cookies':
                    return $this->cookies = Superglobals::cookies(\implode(';', $this->headers['Cookie'] ?? []));
                case 'bodyFile':
                    return $this->bodyFile = $native[12] === '' ? null : $native[12];
                case 'files':
                    if ($native[9] === self::FORM_FIELDS) {
                        return $this->files = Superglobals::files(self::map($native[10]));
                    }
            }
        }
        switch ($name) {
            case 'method':
            case 'uri':
            case 'protocol':
            case 'remoteAddr':
                return $this->$name = $this->fields()[$name];
            case 'queryString':
                return $this->queryString = $this->fields()['query'];
            case 'path':
            case 'host':
                $this->splitUri();

                return $this->$name;
            case 'query':
                \parse_str($this->queryString, $query);

                return $this->query = $query;
            case 'headers':
                return $this->headers = Message::map($this->context, Message::HEADERS);
            case 'attributes':
                return $this->attributes = Message::map($this->context, Message::ATTRIBUTES);
            case 'cookies':
                return $this->cookies = \array_map(
                    static fn (array $values): string => $values[\count($values) - 1] ?? '',
                    Message::map($this->context, Message::COOKIES),
                );
            case 'form':
                return $this->form = $this->parseForm();
            case 'files':
                return $this->files = UploadedFile::tree($this->json($this->fields()['uploads'], 'list of files'));
            case 'bodyFile':
                return $this->bodyFile = $this->findBodyFile();
            case 'body':
                return $this->body = $this->loadBody();
        }
        throw new \LogicException("a request has no property \"$name\"");
    }

    public function __isset(string $name): bool
    {
        // PHP asks this, and then __get(), for $request->headers['X'] ?? '': so nothing may be set here.
        return isset(self::LAZY[$name]) && ($name !== 'bodyFile' || $this->findBodyFile() !== null);
    }

    /** @return array<string, mixed> */
    public function __debugInfo(): array
    {
        return ['method' => $this->method, 'uri' => $this->uri, 'headers' => $this->headers];
    }

    /** @return array{remoteAddr: string, protocol: string, method: string, uri: string, query: string, uploads: string, parsed: bool} */
    private function fields(): array
    {
        if ($this->native !== null) {
            return ['parsed' => $this->native[9] !== '', 'uploads' => $this->native[10]];
        }

        return $this->fields ??= Message::request($this->context);
    }

    /** @return array<mixed> */
    private static function map(string $serialized): array
    {
        return $serialized === '' ? [] : \unserialize($serialized, self::NO_CLASSES);
    }

    /** The server names the file in an attribute, which no client can send. */
    private function findBodyFile(): ?string
    {
        if ($this->native !== null) {
            return $this->native[12] === '' ? null : $this->native[12];
        }
        // Looking for the name in the raw message first saves unpacking the attributes of nearly every request.
        return \str_contains($this->context, self::BODY_FILE) ? $this->attribute(self::BODY_FILE) ?: null : null;
    }

    private function splitUri(): void
    {
        $rest = $this->uri;
        $host = '';
        $at = \strpos($rest, '://');
        if ($at !== false && $rest[0] !== '/') {
            $rest = \substr($rest, $at + 3);
            $host = \substr($rest, 0, \strcspn($rest, '/?#'));
            $rest = \substr($rest, \strlen($host));
        }
        $path = \substr($rest, 0, \strcspn($rest, '?#'));
        $this->host = $host;
        $this->path = $path === '' ? '/' : $path;
    }

    /** @return array<mixed> */
    private function parseForm(): array
    {
        if ($this->native !== null && $this->native[9] === self::FORM_FIELDS) {
            return Superglobals::form($this->payload);
        }
        if ($this->fields()['parsed']) {
            return $this->json($this->payload, 'form');
        }
        // Forms come as they were sent, and the server can be told to leave them alone.
        if (isset(self::WITH_FORM[$this->method])
            && \str_starts_with(\strtolower($this->header('Content-Type')), 'application/x-www-form-urlencoded')) {
            return Superglobals::form($this->body);
        }

        return [];
    }

    private function loadBody(): string
    {
        if ($this->bodyFile !== null) {
            $body = @\file_get_contents($this->bodyFile);
            if ($body === false) {
                throw new \RuntimeException("cannot read the body in $this->bodyFile");
            }

            return $body;
        }

        return $this->fields()['parsed'] ? '' : $this->payload;
    }

    /** @return array<mixed> */
    private function json(string $text, string $what): array
    {
        if ($text === '') {
            return [];
        }
        $tree = \json_decode($text, true, 512, \JSON_BIGINT_AS_STRING);
        if (!\is_array($tree) && $text !== 'null') {
            throw new ProtocolException("the $what of the request is not a JSON tree: " . \json_last_error_msg());
        }

        return $tree ?? [];
    }
}
