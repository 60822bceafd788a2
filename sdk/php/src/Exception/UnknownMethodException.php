<?php

declare(strict_types=1);

namespace Edge\Exception;

/** The server has no such service or method: the section of edge.yaml is missing, or the server is older than the call. */
final class UnknownMethodException extends RPCException
{
}
