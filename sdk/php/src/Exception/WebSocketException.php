<?php

declare(strict_types=1);

namespace Edge\Exception;

/** The server refused to do something with connections. */
class WebSocketException extends RPCException
{
}
